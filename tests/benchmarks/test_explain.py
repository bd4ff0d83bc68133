"""How fast an explanation is over a filled store, beside the floor of a round trip, as ratios."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from filling import fill
from processes import collector

REQUESTS = int(os.environ.get("MVTRACE_BENCH_REQUESTS", "1000000"))
READS = 200
KEPT = os.environ.get("MVTRACE_BENCH_STORE")
"""A folder in which the filled store is kept: it is made by the first run and used by the next."""

pytestmark = pytest.mark.benchmark


def milliseconds(connection: http.client.HTTPConnection, paths: list[str]) -> list[float]:
    taken = []
    for path in paths:
        start = time.perf_counter()
        connection.request("GET", path)
        reply = connection.getresponse()
        body = reply.read()
        taken.append((time.perf_counter() - start) * 1000)
        assert reply.status == 200, body
    return taken


def shown(name: str, taken: list[float], floor: float) -> None:
    ordered = sorted(taken)
    p50, p95 = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    print(f"  {name:28} p50 {p50:6.1f} ms, p95 {p95:6.1f} ms, {p50 / floor:4.1f} x SELECT 1")


def filled(temporary: Path) -> tuple[Path, list[str]]:
    """Return the folder of a store with REQUESTS requests, and 256 of their ids in order."""
    folder = Path(KEPT) if KEPT else temporary
    known = folder / "ids.json"
    if known.exists():
        return folder, json.loads(known.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    ids = fill(folder, REQUESTS, months=12)
    print(f"\n{REQUESTS} requests over 12 months, filled in {time.perf_counter() - started:.0f} s")
    known.write_text(json.dumps(ids))
    return folder, ids


def test_explanations_over_many_requests(tmp_path: Path) -> None:
    """
    Prints the time of an explanation by request id, oldest and newest month apart; then the whole
    command.
    """
    folder, ids = filled(tmp_path)
    source = random.Random(7)

    with (
        collector(folder) as one,
        contextlib.closing(
            http.client.HTTPConnection(one.url.removeprefix("http://"))
        ) as connection,
    ):
        by_id = [f"/api/v1/explanation?id={one_id}" for one_id in ids]
        milliseconds(connection, by_id[:20])  # warm
        floor = statistics.median(
            milliseconds(connection, [f"/sql?query={quote('SELECT 1')}"] * 50)
        )
        print(f"  SELECT 1 through /sql        p50 {floor:6.1f} ms")
        shown("any request id", milliseconds(connection, source.choices(by_id, k=READS)), floor)
        shown("oldest month", milliseconds(connection, source.choices(by_id[:20], k=READS)), floor)
        shown("newest month", milliseconds(connection, source.choices(by_id[-20:], k=READS)), floor)

        command = [sys.executable, "-m", "mvtrace", "explain", ids[0], "--url", one.url]
        whole = []
        for _ in range(9):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            whole.append((time.perf_counter() - start) * 1000)
        bare = []
        for _ in range(9):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", "pass"], check=True)
            bare.append((time.perf_counter() - start) * 1000)
        command_ms, bare_ms = statistics.median(whole), statistics.median(bare)
        print(
            f"  mvtrace explain, whole       {command_ms:6.0f} ms, "
            f"{command_ms / bare_ms:4.1f} x an empty Python"
        )

    assert len(ids) >= 200
