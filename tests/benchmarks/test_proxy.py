"""What the proxy adds to an answer's time, beside asking the same server directly."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_http import RawServer, chunked
from sink import Sink

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("MVTRACE_BENCH_ROUNDS", "5"))
REQUESTS = 150
CHUNK = b'data: {"id":"c","model":"m-1","choices":[{"index":0,"delta":{"content":"tok"}}]}\n\n'
WHOLE = b'{"id":"c","model":"m-1","choices":[{"message":{"content":"' + b"tok " * 50 + b'"}}]}'
ANSWERS = {
    "whole": (b"application/json", [WHOLE]),
    "stream": (b"text/event-stream", [CHUNK] * 50 + [b"data: [DONE]\n\n"]),
}
ASKED = b'{"model": "m", "messages": [{"role": "user", "content": "' + b"word " * 100 + b'"}]}'

pytestmark = pytest.mark.benchmark


def answer(form: str) -> list[bytes]:
    kind, pieces = ANSWERS[form]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head, *chunked(*pieces)]


@contextlib.contextmanager
def proxying(upstream: str, sink: str, folder: Path) -> Iterator[int]:
    """The real command."""
    command = [sys.executable, "-m", "mvtrace", "proxy", "--upstream", upstream]
    environ = {**os.environ, "MVTRACE_URL": sink, "MVTRACE_SPOOL_DIR": str(folder)}
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], env=environ, cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().split(b",")[0].rpartition(b":")[2])
        finally:
            process.terminate()


def times(port: int) -> list[tuple[float, float]]:
    """Milliseconds to the first byte of the body and to the last, a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    found = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", ASKED)
        reply = connection.getresponse()
        reply.read(1)
        first = time.perf_counter()
        reply.read()
        found.append(((first - began) * 1e3, (time.perf_counter() - began) * 1e3))
    connection.close()
    return found


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


@pytest.mark.parametrize("form", sorted(ANSWERS))
def test_latency_added(form: str, tmp_path: Path) -> None:
    """
    Prints p50 and p99 of first byte and whole answer, direct and through the proxy, in turn.
    """
    with Sink() as sink, RawServer() as server:
        server.answer = [b"".join(answer(form))] if form == "whole" else answer(form)
        with proxying(server.url, sink.url, tmp_path) as port:
            times(port)  # warm
            direct, through = [], []
            for _ in range(ROUNDS):
                direct += times(server.port)
                through += times(port)

    print(f"\nproxy, {form}, {len(direct)} requests each, one after another")
    for which, name in enumerate(("first byte", "whole")):
        for share in (0.5, 0.99):
            one = percentile([took[which] for took in direct], share)
            other = percentile([took[which] for took in through], share)
            print(
                f"  {name:10} p{share * 100:<3.0f} direct {one:6.2f} ms, through {other:6.2f} ms: "
                f"+{other - one:5.2f} ms, {other / one:4.1f} times"
            )

    assert len(direct) == len(through) == ROUNDS * REQUESTS
