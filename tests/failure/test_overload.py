"""More comes in than can be stored: it is refused in time, and nothing that was taken is lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from obligations import Judge, Ledger, wait_for
from supervised import Supervised
from wire_producer import Load

MIB = 1 << 20
TIMES_TOO_MUCH = 10.0
SENDERS_AT_A_TIME, MOST_LOADS = 6, 5
WINDOW_S = 4.0
LITTLE_MIB = "18"
"""Of memory for a load, which is halved until it fits: the store then takes so little that clients
on the same machine can offer ten times as much."""
LONG_ENOUGH_S = 60
"""A shorter run only says how much too much it was: the senders are added one group a window."""


class Overload:
    """Ever more senders, until what they offer is ten times what is taken.

    While the inbox is at its limit, what is taken is what the store can sustain; each post counts as
    offered, whether it is taken or told to come back.
    """

    def __init__(self, url: str, ledger: Ledger, stack: ExitStack) -> None:
        self._url, self._ledger, self._stack = url, ledger, stack
        self.loads: list[Load] = []
        self._since: Counter[int] = Counter()
        self._look_at = 0.0
        self.ratios: list[float] = []

    def go_on(self) -> None:
        """Look back on a window, once it is over, and add senders where they offer too little."""
        if time.monotonic() < self._look_at:
            return
        answers = self.answers()
        window, self._since = answers - self._since, answers
        if self.loads:
            self.ratios.append(window.total() / max(1, window[200]))
        is_enough = self.ratios and self.ratios[-1] >= TIMES_TOO_MUCH
        if not is_enough and len(self.loads) < MOST_LOADS:
            load = Load(
                *(self._url, self._ledger),
                senders=SENDERS_AT_A_TIME,
                requests=50,
                spans=4,
                payload_bytes=4000,
            )
            self.loads.append(self._stack.enter_context(load))
        self._look_at = time.monotonic() + WINDOW_S

    def answers(self) -> Counter[int]:
        """Return how often each status was seen by anybody."""
        return sum((Counter(load.answers) for load in self.loads), Counter())


def test_far_too_much(tmp_path: Path, times: Callable[[int], int]) -> None:
    """
    Under ten times the load that the store takes, memory stays bounded, senders are told to come
    back, and once the load ends the lag is gone and everything accepted is stored.
    """
    seconds = max(8, times(600))
    ledger = Ledger()
    environ = {"MVTRACE_INBOX_UNSTORED_MIB": "4", "MVTRACE_LOADER_MEMORY_MIB": LITTLE_MIB}
    with Supervised(tmp_path, environ=environ) as collector:
        judge = Judge(collector.url)
        before = collector.memory_bytes()
        most, most_lag = 0, 0.0
        with ExitStack() as stack:
            overload = Overload(collector.url, ledger, stack)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                overload.go_on()
                most = max(most, collector.memory_bytes())
                most_lag = max(most_lag, judge.metric("mvtrace_inbox_bytes"))
                time.sleep(0.2)
            answers = overload.answers()
        began = time.monotonic()
        judge.wait_stored()
        recovered_s = time.monotonic() - began
        found = judge.verdict(ledger)
        most_ratio = max(overload.ratios, default=0.0)
        found.show(
            f"{answers.total() / max(answers[200], 1):.1f} times too much for {seconds} s, up to"
            f" {most_ratio:.1f} times: memory {before / MIB:.0f} to {most / MIB:.0f} MiB, lag up to"
            f" {most_lag / MIB:.1f} MiB, gone after {recovered_s:.1f} s; answers {dict(answers)}"
        )
        found.hold()
        assert found.repeats == 0
        assert answers[503] + answers[429] > 0
        assert most_lag < 8 * MIB
        assert most - before < 1024 * MIB
        assert seconds < LONG_ENOUGH_S or most_ratio >= TIMES_TOO_MUCH
        wait_for(lambda: judge.metric("mvtrace_inbox_bytes") == 0, 10, "a lag stays")
