"""Who calls, on its way through the proxy: told to an upstream that may know, and to no other."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx2
import pytest
from captured import Captured
from raw_http import RawServer

import mvtrace

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CALLER = "01900000-0000-7000-8000-000000000000"
SAID = {"baggage": f"mvtrace.request.id={CALLER},user=7", "traceparent": "00-" + "a" * 32 + "-1-01"}


@pytest.mark.parametrize("is_allowed", [False, True])
def test_through_the_proxy(
    start_proxy: Callable[..., int], captured: Captured, upstream: RawServer, is_allowed: bool
) -> None:
    """
    Our members of a client's baggage end at the proxy, whose own request takes their place where
    the upstream is allowed; the client's other members and its trace pass.
    """
    config = captured.tracing.config
    captured.tracing = mvtrace.configure(
        url=config.url,
        spool_dir=config.spool_dir,
        propagate_to=["127.0.0.1"] if is_allowed else [],
        trust_incoming=True,
    )
    upstream.answer = [OK]
    port = start_proxy(upstream.url)

    reply = httpx2.get(f"http://127.0.0.1:{port}/v1/models", headers=SAID, timeout=20)

    own = reply.headers["x-mvtrace-request-id"]
    [(_, headers, _)] = upstream.seen
    told = f"mvtrace.request.id={own},user=7" if is_allowed else "user=7"
    assert [value for name, value in headers if name == b"baggage"] == [told.encode()]
    assert (b"traceparent", SAID["traceparent"].encode()) in headers
    deadline = time.monotonic() + 30
    while not captured.records and time.monotonic() < deadline:
        time.sleep(0.02)
    assert captured.record.parent_request_id == CALLER
    captured.tracing.shutdown()


def test_without_baggage(proxy: int, upstream: RawServer) -> None:
    """
    Where nobody may be told anything, no header is added.
    """
    upstream.answer = [OK]

    httpx2.get(f"http://127.0.0.1:{proxy}/v1/models", timeout=20)

    [(_, headers, _)] = upstream.seen
    assert {b"baggage", b"traceparent"}.isdisjoint(dict(headers))
