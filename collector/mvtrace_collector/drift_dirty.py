"""Minutes in which something new is stored, of each project, as few ranges as they make. Pure.

In: ranges of minutes, in any order. Out: ranges to sweep, each short enough for one statement. Of a
sender who writes all over the years the ranges grow together, so that their number is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

Minutes = tuple[int, int]

MAX_RANGES: Final = 1_000
"""Ranges of one project; more are joined where the hole between them is smallest."""
CHUNK: Final = 10
"""Minutes of one statement."""


class Dirty:
    """Ranges of minutes by project; the caller locks."""

    def __init__(self) -> None:
        self._ranges: dict[str, list[Minutes]] = {}

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def add(self, project: str, minutes: Minutes) -> None:
        """Add all minutes from the first to the last."""
        first, last = min(minutes), max(minutes)
        kept = []
        for one in self._ranges.get(project, ()):
            if one[1] + 1 < first or last + 1 < one[0]:
                kept.append(one)
            else:
                first, last = min(first, one[0]), max(last, one[1])
        kept.append((first, last))
        kept.sort()
        if len(kept) > MAX_RANGES:
            at = min(range(1, len(kept)), key=lambda index: kept[index][0] - kept[index - 1][1])
            kept[at - 1 : at + 1] = [(kept[at - 1][0], kept[at][1])]
        self._ranges[project] = kept

    def take(self) -> list[tuple[str, Minutes]]:
        """Return everything, by project and time, and forget it."""
        found = [
            (project, one) for project in sorted(self._ranges) for one in self._ranges[project]
        ]
        self._ranges.clear()
        return found


def chunks(minutes: Minutes) -> Iterator[Minutes]:
    """Yield *minutes* in ranges of at most ``CHUNK``, in order."""
    for first in range(minutes[0], minutes[1] + 1, CHUNK):
        yield first, min(first + CHUNK - 1, minutes[1])


def halves(minutes: Minutes) -> tuple[Minutes, Minutes]:
    """Return the two halves of more than one minute."""
    middle = (minutes[0] + minutes[1]) // 2
    return (minutes[0], middle), (middle + 1, minutes[1])
