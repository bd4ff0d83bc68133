"""The watch over requests that run long."""

from __future__ import annotations

import time

from mvtrace.capture.watch import Watch


class Running:
    """A request in progress that notes when its start was recorded."""

    def __init__(self, started_at: int) -> None:
        self.started_at = started_at
        self.recorded = 0

    def send_started(self) -> None:
        self.recorded += 1


def test_only_long_requests_are_recorded() -> None:
    """
    Of the requests in progress the old ones are recorded at their start, once; ended ones never.
    """
    watch = Watch()
    now = time.time_ns()
    old, ended, young = Running(now - 5), Running(now - 4), Running(now + 10**12)
    for request in (old, ended, young):
        watch.add(request)
    watch.forget(ended)

    watch.sweep(now)
    watch.sweep(now)

    assert [request.recorded for request in (old, ended, young)] == [1, 0, 0]
    watch.forget(young)


def test_child_of_a_fork_watches_only_its_own() -> None:
    """
    A forked child does not record the requests of its parent, and its thread starts anew.
    """
    watch = Watch()
    parents = Running(time.time_ns())
    watch.add(parents)

    watch.forget_all()
    own = Running(time.time_ns())
    watch.add(own)
    watch.sweep(time.time_ns() + 1)

    assert (parents.recorded, own.recorded) == (0, 1)
