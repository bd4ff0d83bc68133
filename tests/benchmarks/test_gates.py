"""What gates cost a collector: a poll, and senders beside gates that never ask the same twice."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gated import ADMIN, HORIZON, PLAN, SERVICES, Gated, gated
from keyed import ask
from self_observed import PROTOBUF, a_record, log_body

from mvtrace.ids import new_request_id
from mvtrace.wire import event_of

POLLS = 200
EXPORTS = 300
GATES = 8
PAUSE_S = 0.1
"""Between two questions of a gate, which should wait 5 s where it is sent away."""


@pytest.mark.benchmark
def test_what_gates_cost_a_collector(tmp_path: Path) -> None:
    """
    A poll costs less than a look; of a storm of different questions most are sent away.
    """
    with gated(
        tmp_path, {"MVTRACE_ROLLOUT_INTERVAL_S": "0", "MVTRACE_COMPARE_SHARE": "0.25"}
    ) as gate:
        gate.compare(**gate.at("young"))  # the statistics are imported
        first = _ms(lambda: gate.compare(**gate.at("worse")))
        polls = sorted(_ms(lambda: gate.compare(**gate.at("worse"))) for _ in range(POLLS))
        idle = _exports(gate)
        before, began = _cpu_s(gate), time.monotonic()
        asked = _storm(gate, beside := list[float]())
        lasted = time.monotonic() - began
        cpu = (_cpu_s(gate) - before) / lasted

    print(f"\nfirst look {first:.1f} ms, a poll {statistics.median(polls):.1f} ms (p50)")
    for name, found in (("alone", idle), ("beside gates", beside)):
        print(f"an export {name}: {_at(found, 0.5):.1f} ms p50, {_at(found, 0.95):.1f} ms p95")
    computed, shared, refused = asked
    print(
        f"{GATES} gates for {lasted:.1f} s: {computed} computed, {shared} shared, {refused} sent "
        f"away; the collector used {cpu:.2f} processors; p50 beside/alone "
        f"{_at(beside, 0.5) / _at(idle, 0.5):.2f}"
    )
    assert statistics.median(polls) < first
    assert computed
    assert refused


def _storm(gate: Gated, beside: list[float]) -> tuple[int, int, int]:
    """Ask ever something else from many threads while exports are timed."""
    ended = threading.Event()
    digests = [plan.digest.removeprefix("sha256:") for plan in (PLAN, HORIZON)]
    questions = iter(
        gate.at(service, plan=digest[:length])
        for length in range(8, 65)
        for digest in digests
        for service in SERVICES
    )
    taking = threading.Lock()

    def poll() -> None:
        while not ended.is_set():
            with taking:
                asked = next(questions, None)
            if asked is None:
                return
            while not ended.wait(PAUSE_S) and gate.compare(**asked).status != 200:
                continue

    before = _counts(gate)
    with ThreadPoolExecutor(GATES) as pool:
        for _ in range(GATES):
            pool.submit(poll)
        beside += _exports(gate)
        ended.set()
    computed, shared, refused = (
        round(now - was) for now, was in zip(_counts(gate), before, strict=True)
    )
    return computed, shared, refused


def _exports(gate: Gated) -> list[float]:
    def export() -> None:
        body = log_body(event_of(a_record(new_request_id(), "a")))
        headers = {**PROTOBUF, "authorization": f"Bearer {ADMIN}"}
        assert ask(f"{gate.url}/v1/logs", ADMIN, body, headers=headers).status == 200

    return [_ms(export) for _ in range(EXPORTS)]


def _ms(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def _at(found: list[float], share: float) -> float:
    return sorted(found)[int(share * (len(found) - 1))]


def _counts(gate: Gated) -> tuple[float, float, float]:
    text = ask(f"{gate.url}/metrics", ADMIN).text
    found = {
        line.split('outcome="')[1].split('"')[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("mvtrace_comparisons_total{")
    }
    return found["computed"], found["shared"], found["refused"]


def _cpu_s(gate: Gated) -> float:
    """Return the seconds of processor that the collector's process has used."""
    fields = Path(f"/proc/{gate.running.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
