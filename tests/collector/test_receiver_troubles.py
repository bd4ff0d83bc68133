"""OTLP over HTTP in trouble: retries, a full disk, slow, endless and leaving senders."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from receiving import GOOD, PROTOBUF, a_trace, app_of, post
from starlette.applications import Starlette
from starlette.testclient import TestClient

from mvtrace_collector.inbox import Inbox, InboxSettings
from mvtrace_collector.limits import Limits
from mvtrace_collector.metrics import Metrics
from mvtrace_collector.receiver import Gate


def test_retries_are_recognized(client: TestClient, inbox: Inbox) -> None:
    """
    The same bytes are one batch; with a batch id, id and bytes together are, so that an id used
    twice loses nothing. Compression makes no difference.
    """
    first, second = a_trace(spans=1).SerializeToString(), a_trace(spans=2).SerializeToString()
    for body, headers in (
        (first, {}),
        (first, {}),
        (first, {"x_mvtrace_batch": "b1"}),
        (first, {"x_mvtrace_batch": "b1"}),
        (gzip.compress(first), {"x_mvtrace_batch": "b1", "content_encoding": "gzip"}),
        (second, {"x_mvtrace_batch": "b1"}),
        (first, {"x_mvtrace_batch": "b2"}),
    ):
        assert post(client, "/v1/traces", body, **headers).status_code == 200

    assert inbox.lag().accepted_seq == 4


def test_what_may_work_later_is_503(client: TestClient, gate: Gate, tmp_path: Path) -> None:
    """
    A full inbox, a stopping collector and an error nobody foresaw are answered with 503 and a
    Retry-After, for a permanent answer makes clients delete their data.
    """
    full = Inbox(tmp_path / "full", InboxSettings(unstored_bytes=1))
    with TestClient(app_of(Gate(full, Limits(), Metrics()))) as other:
        is_full = post(other, "/v1/traces", GOOD)
    full.close()
    with TestClient(app_of(Gate(full, Limits(), Metrics()))) as other:
        is_closed = post(other, "/v1/traces", GOOD)
    tight = Gate(gate.inbox, Limits(in_flight_bytes=10), Metrics())
    with TestClient(app_of(tight)) as other:
        is_busy = post(other, "/v1/traces", GOOD)
    broken = Gate(gate.inbox, Limits(ratio=None), Metrics())  # type: ignore[arg-type]
    with TestClient(app_of(broken)) as other:
        body = gzip.compress(bytes(9_000_000))
        is_a_bug = post(other, "/v1/traces", body, content_encoding="gzip")
    gate.is_open = False
    is_stopping = post(client, "/v1/traces", GOOD)

    answers = [is_full, is_closed, is_busy, is_a_bug, is_stopping]
    assert [answer.status_code for answer in answers] == [503] * 5
    assert all(1 <= int(answer.headers["retry-after"]) <= 5 for answer in answers)
    assert [Status.FromString(answer.content).message for answer in answers] == [
        (
            "The inbox takes nothing more: too much waits for the loader (limit 1 bytes); "
            "the same request may be sent again."
        ),
        "The inbox cannot be written: it is closed; the same request may be sent again.",
        "Too many bytes are in flight; the same request may be sent again.",
        "The collector met an error of its own; the same request may be sent again.",
        "The collector is stopping; the same request may be sent again.",
    ]
    assert {Status.FromString(answer.content).code for answer in answers} == {14}
    assert tight.budget.used_bytes == 0


async def converse(app: Starlette, messages: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Speak ASGI with *app* as a server would."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return await anext(messages)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/traces",
        "raw_path": b"/v1/traces",
        "query_string": b"",
        "headers": [(b"content-type", PROTOBUF.encode())],
        "http_version": "1.1",
        "scheme": "http",
        "client": None,
        "server": None,
        "root_path": "",
    }
    await app(scope, receive, send)
    return sent


def test_a_slow_body_ends_at_the_deadline(inbox: Inbox) -> None:
    """
    A body that drips in is cut off with 408, and what it held is given back.
    """
    gate = Gate(inbox, Limits(read_seconds=0.2), Metrics())

    async def drip() -> AsyncIterator[dict[str, Any]]:
        while True:
            yield {"type": "http.request", "body": b"x", "more_body": True}
            await asyncio.sleep(0.05)

    sent = asyncio.run(converse(app_of(gate), drip()))

    assert sent[0]["status"] == 408
    assert Status.FromString(sent[1]["body"]).message == "The body did not arrive within 0.2 s."
    assert gate.budget.used_bytes == 0


def test_an_endless_body_ends_at_the_limit(inbox: Inbox) -> None:
    """
    A chunked body without end is refused with 413 once it is over the limit.
    """
    gate = Gate(inbox, Limits(compressed_bytes=100_000), Metrics())

    async def pour() -> AsyncIterator[dict[str, Any]]:
        while True:
            yield {"type": "http.request", "body": bytes(65_536), "more_body": True}

    sent = asyncio.run(converse(app_of(gate), pour()))

    assert sent[0]["status"] == 413


def test_a_sender_that_leaves_is_not_answered(inbox: Inbox) -> None:
    """
    A disconnect in the middle of the body keeps nothing and answers nothing.
    """
    gate = Gate(inbox, Limits(), Metrics())

    async def leave() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "http.request", "body": GOOD[:5], "more_body": True}
        yield {"type": "http.disconnect"}

    assert asyncio.run(converse(app_of(gate), leave())) == []
    assert inbox.lag().accepted_seq == 0
    assert gate.budget.used_bytes == 0


def test_deep_values(client: TestClient) -> None:
    """
    Values nested deeper than protobuf's parser goes are refused; moderately nested ones are kept.
    """

    def nested(depth: int) -> bytes:
        request = a_trace()
        span = request.resource_spans[0].scope_spans[0].spans[0]
        value = span.attributes.add(key="deep").value
        for _ in range(depth):
            value = value.array_value.values.add()
        value.string_value = "x"
        return request.SerializeToString()

    assert post(client, "/v1/traces", nested(20)).status_code == 200
    assert post(client, "/v1/traces", too_deep()).status_code == 400


def too_deep() -> bytes:
    """Nest 5000 arrays by hand: protobuf's own writer would refuse as well."""

    def field(number: int, payload: bytes) -> bytes:
        out, size = bytearray([number << 3 | 2]), len(payload)
        while size > 0x7F:
            out.append(size & 0x7F | 0x80)
            size >>= 7
        out.append(size)
        return bytes(out) + payload

    value = b""
    for _ in range(5000):
        value = field(5, field(1, value))
    span = field(1, b"\x01" * 16) + field(2, b"\x01" * 8) + field(9, field(2, value))
    return field(1, field(2, field(2, span)))
