"""More comes in than can be stored: it is refused in time, and nothing that was taken is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from obligations import Judge, Ledger, wait_for
from supervised import Supervised
from wire_producer import Load

MIB = 1 << 20


def test_far_too_much(tmp_path: Path, times: Callable[[int], int]) -> None:
    """
    Under a load far above what the store takes, memory stays bounded, senders are told to come back,
    and once the load ends the lag is gone and everything accepted is stored.
    """
    seconds = max(8, times(600))
    ledger = Ledger()
    environ = {"MVTRACE_INBOX_UNSTORED_MIB": "4"}
    with Supervised(tmp_path, environ=environ) as collector:
        judge = Judge(collector.url)
        before = collector.memory_bytes()
        most, most_lag = 0, 0.0
        with Load(
            collector.url, ledger, senders=6, requests=200, spans=4, payload_bytes=4000
        ) as load:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                most = max(most, collector.memory_bytes())
                most_lag = max(most_lag, judge.metric("mvtrace_inbox_bytes"))
                time.sleep(0.2)
        began = time.monotonic()
        judge.wait_stored()
        recovered_s = time.monotonic() - began
        found = judge.verdict(ledger)
        found.show(
            f"{sum(load.answers.values()) / max(load.answers[200], 1):.1f} times too much for"
            f" {seconds} s: memory {before / MIB:.0f} to {most / MIB:.0f} MiB, lag up to"
            f" {most_lag / MIB:.1f} MiB, gone after {recovered_s:.1f} s; answers {load.answers}"
        )
        found.hold()
        assert found.repeats == 0
        assert load.answers.get(503, 0) + load.answers.get(429, 0) > 0
        assert most_lag < 8 * MIB
        assert most - before < 1024 * MIB
        wait_for(lambda: judge.metric("mvtrace_inbox_bytes") == 0, 10, "a lag stays")
