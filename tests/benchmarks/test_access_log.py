"""What the access log costs: the same explanation with it and without, in turn, over one store."""

from __future__ import annotations

import contextlib
import http.client
import os
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from filling import fill
from starlette.applications import Starlette

from mvtrace_collector.access_log_guard import AccessGuard
from mvtrace_collector.app import _assemble
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.state import CollectorState

REQUESTS = int(os.environ.get("MVTRACE_BENCH_REQUESTS", "20000"))
READS = 300
CLIENTS = 8

pytestmark = pytest.mark.benchmark


@contextlib.contextmanager
def serving(app: Starlette) -> Iterator[int]:
    """Serve *app* in a thread; give its port."""
    settings = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none")
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


def ask(port: int, paths: list[str]) -> list[float]:
    """Return the milliseconds that each path's answer took, over one connection."""
    taken = []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        for path in paths:
            started = time.perf_counter()
            connection.request("GET", path)
            reply = connection.getresponse()
            body = reply.read()
            taken.append((time.perf_counter() - started) * 1000)
            assert reply.status == 200, body
    return taken


def ask_side_by_side(port: int, paths: list[str]) -> float:
    """Return the answers a second that several clients get together."""
    shares = [paths[number::CLIENTS] for number in range(CLIENTS)]
    threads = [threading.Thread(target=ask, args=(port, share)) for share in shares]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(paths) / (time.perf_counter() - started)


def test_explanation_with_and_without(tmp_path: Path) -> None:
    """
    Prints the time of an explanation and of ``SELECT 1`` with and without the log, one client asking
    both in turn; then answers a second for several clients at once.
    """
    ids = fill(tmp_path, REQUESTS, months=2)
    state = CollectorState(CollectorConfig(store=f"chdb://{tmp_path / 'store'}"))
    logged, bare = _assemble(state), _assemble(state)
    bare.user_middleware = [one for one in bare.user_middleware if one.cls is not AccessGuard]
    explain = [f"/api/v1/explanation?id={one_id}" for one_id in ids]
    select = ["/sql?query=SELECT%201"]

    with serving(logged) as with_log, serving(bare) as without:
        ask(with_log, explain[:30])
        ask(without, explain[:30])
        for name, paths in (("explanation", explain), ("SELECT 1", select)):
            taken: dict[int, list[float]] = {with_log: [], without: []}
            for number in range(READS):
                for port in (with_log, without) if number % 2 else (without, with_log):
                    taken[port] += ask(port, [paths[number % len(paths)]])
            one, other = (statistics.median(taken[port]) for port in (with_log, without))
            high, low = (sorted(taken[port])[int(READS * 0.95)] for port in (with_log, without))
            print(
                f"\n  {name:12} p50 {one:6.2f} ms with the log, {other:6.2f} ms without: "
                f"{one - other:+.2f} ms, {one / other:.2f} x; p95 {high:.1f} and {low:.1f} ms"
            )
        many = [explain[number % len(explain)] for number in range(READS)]
        rates = {
            port: ask_side_by_side(port, many) for port in (with_log, without, with_log, without)
        }
        print(
            f"  {CLIENTS} clients    {rates[with_log]:6.0f} explanations a second with the log, "
            f"{rates[without]:6.0f} without"
        )
    assert state.started_at > 0
