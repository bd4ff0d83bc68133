"""Sets of running numbers as runs without a hole, and the holes between them. Pure.

In: runs of numbers, in any order, overlapping or not. Out: holes, each with when the requests on
both sides of it began. Costs grow with the number of runs, not of numbers: a producer that loses
nothing is one run, however long it lives.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

Range = tuple[int, int]
"""First and last number, both included."""


class Run(NamedTuple):
    """Numbers that are all there."""

    first: int
    last: int
    first_ms: int
    """When the request of the first number began."""
    last_ms: int


class Hole(NamedTuple):
    """Numbers none of which is there."""

    first: int
    last: int
    after_ms: int | None
    """When the request before the hole began; None where there is none."""
    before_ms: int | None


class Runs:
    """A set of numbers."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._runs: list[Run] = []
        for run in runs:
            self.add(run)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    @property
    def highest(self) -> Run | None:
        """The run with the highest number."""
        return self._runs[-1] if self._runs else None

    def add(self, run: Run) -> None:
        """Add the numbers of *run*; runs that touch become one."""
        runs = self._runs
        start = bisect_left(runs, run.first - 1, key=lambda one: one.last)
        stop = bisect_right(runs, run.last + 1, key=lambda one: one.first)
        touched = runs[start:stop]
        if touched:
            low, high = touched[0], touched[-1]
            run = Run(
                min(run.first, low.first),
                max(run.last, high.last),
                low.first_ms if low.first <= run.first else run.first_ms,
                high.last_ms if high.last >= run.last else run.last_ms,
            )
        runs[start:stop] = [run]

    def holes(self, first: int, last: int) -> Iterator[Hole]:
        """Yield what is not there of *first* to *last*, in order."""
        at, after_ms = first, None
        for run in self._runs:
            if run.first > last:
                break
            if run.first > at:
                yield Hole(at, run.first - 1, after_ms, run.first_ms)
            at = max(at, run.last + 1)
            after_ms = run.last_ms
        if at <= last:
            yield Hole(at, last, after_ms, self._next_ms(last))

    def forget_below(self, number: int) -> None:
        """Drop the runs that end below *number*, but for the last of them: its time is needed."""
        keep = bisect_left(self._runs, number, key=lambda one: one.last)
        del self._runs[: max(0, keep - 1)]

    def _next_ms(self, number: int) -> int | None:
        later = bisect_right(self._runs, number, key=lambda one: one.first)
        return self._runs[later].first_ms if later < len(self._runs) else None


def without(ranges: Iterable[Range], taken: Iterable[Range]) -> list[Range]:
    """Return what of *ranges* is in none of *taken*; both are in order and without overlap."""
    left = list(ranges)
    for first, last in taken:
        left = [piece for one in left for piece in _cut(one, first, last)]
    return left


def within(ranges: Iterable[Range], first: int, last: int) -> list[Range]:
    """Return what of *ranges* lies between *first* and *last*."""
    met = [(low, high) for low, high in ranges if low <= last and high >= first]
    return [(max(low, first), min(high, last)) for low, high in met]


def _cut(one: Range, first: int, last: int) -> Iterator[Range]:
    low, high = one
    if low < first:
        yield low, min(high, first - 1)
    if high > last:
        yield max(low, last + 1), high
