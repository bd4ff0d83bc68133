"""The hours that one sweep still has to make, in which order. Pure.

In: hours by project. Out: one after another; projects take turns, so that none waits for all hours
of another, and each begins with its earliest: what is first of a unit is told by what was before.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator


class Hours:
    """Hours to sweep, each once; not for several threads."""

    def __init__(self, after: str = "") -> None:
        """*after* is the project whose turn it was last."""
        self.turn = after
        self._heaps: dict[str, list[int]] = {}
        self._known: dict[str, set[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._heaps)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Give what is left."""
        return ((project, hour) for project, heap in self._heaps.items() for hour in heap)

    @property
    def projects(self) -> frozenset[str]:
        """Those that have hours left."""
        return frozenset(self._heaps)

    def add(self, project: str, hours: Iterable[int]) -> None:
        """Add *hours*; what is there already is not there twice."""
        known = self._known.setdefault(project, set())
        for hour in hours:
            if hour not in known:
                known.add(hour)
                heapq.heappush(self._heaps.setdefault(project, []), hour)

    def next(self) -> tuple[str, int]:
        """Return the hour whose turn it is, until it is done."""
        project = min(self._heaps, key=lambda one: (one <= self.turn, one))
        return project, self._heaps[project][0]

    def done(self, project: str) -> None:
        """Take away what ``next`` gave."""
        heap = self._heaps[project]
        self._known[project].discard(heapq.heappop(heap))
        if not heap:
            del self._heaps[project]
        self.turn = project
