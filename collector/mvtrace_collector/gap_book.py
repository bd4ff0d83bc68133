"""The gaps that are open, by heart: so that an ordinary explanation asks the store nothing more.

In: gaps as they are found, shrink and close. Out: those of a producer near a moment, those that
cover a moment, and sums for the metrics. Up to MAX_GAPS of them; with more, or before the first
reading, it says None and the reader asks the table.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Final

from mvtrace.explain.gaps import NEAR_MS, Gap

MAX_GAPS: Final = 50_000


class GapBook:
    """Open gaps of all projects; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gaps: dict[tuple[str, str], dict[int, Gap]] = {}
        self._is_whole = False

    def read(self, gaps: Iterable[tuple[str, Gap]]) -> None:
        """Take *gaps*, each with its project, as all there are."""
        fresh: dict[tuple[str, str], dict[int, Gap]] = {}
        count = 0
        for project, gap in gaps:
            count += 1
            if count <= MAX_GAPS:
                fresh.setdefault((project, gap.producer_id), {})[gap.first] = gap
        with self._lock:
            self._gaps = fresh
            self._is_whole = count <= MAX_GAPS

    def put(self, project: str, gap: Gap) -> None:
        """Note what is known of *gap* now."""
        key = (project, gap.producer_id)
        with self._lock:
            if gap.missing_ranges:
                self._gaps.setdefault(key, {})[gap.first] = gap
            elif self._gaps.get(key, {}).pop(gap.first, None) and not self._gaps[key]:
                del self._gaps[key]

    def of_producer(self, project: str, producer_id: str) -> list[Gap]:
        """Return the open gaps of one producer, in order."""
        with self._lock:
            found = self._gaps.get((project, producer_id), {})
            return [found[first] for first in sorted(found)]

    def near(self, project: str, producer_id: str, unix_ms: int) -> tuple[Gap, ...] | None:
        """Return the open gaps of a producer near a moment; None if the table has to be asked."""
        if not self._is_whole:
            return None
        found = self.of_producer(project, producer_id)
        return tuple(gap for gap in found if gap.covers(unix_ms, within_ms=NEAR_MS))

    def covering(self, project: str, unix_ms: int) -> tuple[Gap, ...] | None:
        """Return the open gaps that a request of that moment may be one of; None as above."""
        if not self._is_whole:
            return None
        with self._lock:
            return tuple(
                gap
                for (of_project, _), held in self._gaps.items()
                if of_project == project
                for gap in held.values()
                if gap.covers(unix_ms)
            )

    def sums(self) -> dict[str, tuple[int, int]]:
        """Return by reason how many gaps are open and how many records they miss."""
        gaps: Counter[str] = Counter()
        missing: Counter[str] = Counter()
        with self._lock:
            for held in self._gaps.values():
                for gap in held.values():
                    gaps[gap.reason] += 1
                    missing[gap.reason] += gap.missing
        return {reason: (gaps[reason], missing[reason]) for reason in sorted(gaps)}
