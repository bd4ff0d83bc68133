"""The same server with tracing off, healthy, without a collector, and with its disk full."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from faulty_disks import disk
from servers import Server, serving
from sink import Sink

WORKER = Path(__file__).parents[1] / "failure" / "safety_app.py"
ROUNDS = int(os.environ.get("MVTRACE_BENCH_ROUNDS", "5"))
REQUESTS = 300
IN_TROUBLE = {
    "healthy": ("shipped_batches",),
    "collector down": ("ship_connection_errors",),
    "disk full": ("spool_write_errors", "records_dropped_spool_full"),
}
"""What is counted where a variant is what its name says."""
VARIANTS = ("off", "healthy", "collector down", "disk full")

pytestmark = pytest.mark.benchmark


@pytest.fixture
def servers(tmp_path: Path, sink: Sink) -> Iterator[dict[str, Server]]:
    """One uvicorn a variant, all of them up at once; what cannot be made here is left out."""
    settings = {
        "off": {"MVTRACE_DISABLED": "true"},
        "healthy": {"MVTRACE_URL": sink.url},
        "collector down": {"MVTRACE_URL": "http://127.0.0.1:9"},
        "disk full": {"MVTRACE_URL": sink.url, "MVTRACE_SPOOL_MIN_FREE_BYTES": "0"},
    }
    with ExitStack() as stack:
        made = {}
        for name in VARIANTS:
            folder = tmp_path / name.replace(" ", "-")
            folder.mkdir()
            spool = folder / "spool"
            if name == "disk full":
                try:
                    small = stack.enter_context(disk(folder))
                except OSError as error:
                    print(f"disk full is left out: {error}")
                    continue
                stack.enter_context(small.full())
                spool = small.path / "spool"
            environ = {
                "MVTRACE_SPOOL_DIR": str(spool),
                "PYTHONPATH": str(WORKER.parents[2]),
                **settings[name],
            }
            command = (str(WORKER), "{fd}")
            made[name] = stack.enter_context(serving(command, folder / "log", folder, environ))
        yield made


def asked(server: Server, path: str, requests: int) -> tuple[list[bytes], list[float]]:
    """Return the answers over one connection, and the milliseconds each took."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    bodies, took = [], []
    for number in range(requests):
        begun = time.perf_counter()
        connection.request("GET", path.format(number=number))
        answer = connection.getresponse()
        data = answer.read()
        took.append((time.perf_counter() - begun) * 1e3)
        if path.startswith("/echo"):
            data = json.dumps(json.loads(data)["number"]).encode()
        bodies.append(b"%d %s" % (answer.status, data))
    connection.close()
    return bodies, took


@pytest.mark.parametrize("path", ["/echo/{number}", "/stream"])
def test_answers_and_latency(servers: dict[str, Server], path: str) -> None:
    """
    All variants give the same answers; prints p50 and p99 of each, and what is added to off.
    """
    took: dict[str, list[float]] = {name: [] for name in servers}
    for server in servers.values():
        asked(server, path, 100)
    for _ in range(ROUNDS):
        answers = {}
        for name, server in servers.items():
            answers[name], milliseconds = asked(server, path, REQUESTS)
            took[name] += milliseconds
        assert all(found == answers["off"] for found in answers.values())
    for name, server in servers.items():
        counted = stats(server)
        assert name == "off" or sum(counted.get(one, 0) for one in IN_TROUBLE[name]) > 0, name

    print(f"\n{path}, {ROUNDS * REQUESTS} requests each, interleaved; Python {sys.version[:6]}")
    off = quantiles(took["off"])
    for name, milliseconds in took.items():
        p50, p99 = quantiles(milliseconds)
        print(
            f"  {name:15} p50 {p50:6.2f} ms ({p50 - off[0]:+.2f})   "
            f"p99 {p99:6.2f} ms ({p99 - off[1]:+.2f})"
        )


def stats(server: Server) -> dict[str, float]:
    [body], _ = asked(server, "/stats", 1)
    found: dict[str, float] = json.loads(body.partition(b" ")[2])
    return found


def quantiles(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), statistics.quantiles(values, n=100)[98]
