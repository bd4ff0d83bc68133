"""Names of metrics that are made of others: which are, and of what. Pure.

``latency_ms>812.5`` is 1 where the latency is above the threshold and else 0, ``NAME<T`` likewise
below it, ``NAME^T`` is the value capped at it, and ``A/B`` is a ratio of sums. No score is called
like that: one whose name looks like it is ``score:NAME``. ``NAME:first`` counts the first event of
each unit, ``NAME:given`` says of each request whether it has the score.
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

from mvtrace.quality.plan import FIRST

__all__ = [
    "BAD_EVENTS",
    "FIRST",
    "GIVEN",
    "MAX_TEXT",
    "SCORE",
    "SEPARATOR",
    "Asked",
    "Made",
    "made_of",
    "parts_of",
]

GIVEN: Final = ":given"
SCORE: Final = "score:"
SEPARATOR: Final = "\x1f"
MAX_TEXT: Final = 256
BAD_EVENTS: Final = ("error", "refusal", "tool_failure")
"""Counted once a unit in any case."""
_MADE: Final = re.compile(r"(.+)([<>^])([^<>^/]+)", re.DOTALL)


class Made(NamedTuple):
    """A metric that is made of another."""

    name: str
    source: str
    how: str
    """``> < ^`` or ``/``."""
    by: str
    """A threshold, or the metric below the line."""

    def __str__(self) -> str:
        return SEPARATOR.join(self)


def made_of(name: str) -> Made | None:
    """Return what *name* is made of; None if it is a metric of its own."""
    if SEPARATOR in name or not 0 < len(name) <= MAX_TEXT:
        return None
    match = _MADE.fullmatch(name)
    if match is None:
        above, slash, below = name.partition("/")
        is_ratio = above and below and not name.startswith(SCORE)
        return Made(name, above, slash, below) if is_ratio else None
    source, how, threshold = match.groups()
    try:
        number = float(threshold)
    except ValueError:
        return None
    return Made(name, source, how, repr(number)) if math.isfinite(number) else None


def parts_of(name: str) -> tuple[str, ...]:
    """Return of which metrics *name* is made; none where it is one of its own."""
    made = made_of(name)
    if made is None:
        return ()
    return (made.source, made.by) if made.how == "/" else (made.source,)


class Asked(NamedTuple):
    """What the statements that make the roll-up need to know of the metrics asked for."""

    events: tuple[str, ...] = BAD_EVENTS
    """Those of which the first of each unit is counted."""
    wanted: tuple[str, ...] = ()
    """Scores of which ``NAME:given`` is needed."""
    sources: tuple[Made, ...] = ()
    planned: tuple[str, ...] = ()
    """Metrics that a plan names, or that others are made of: kept where an hour has too many."""

    def parameters(self) -> dict[str, list[str]]:
        """Return it as the statements take it."""
        return {
            "events": list(self.events),
            "wanted": list(self.wanted),
            "sources": [str(one) for one in self.sources],
            "planned": list(self.planned),
        }
