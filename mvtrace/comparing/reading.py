"""What a comparison reads, wherever that is: sums, the first request, what a plan freezes.

In: what is compared. Out: plain values, of one project.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from mvtrace.comparing.defaults import Facts
from mvtrace.comparing.events import Subject
from mvtrace.quality.sufficient import RolledUp
from mvtrace.registry.reading import Ask


class Span(NamedTuple):
    """A time, in Unix seconds: from *since* up to *until*."""

    since: int
    until: int


class Source(Protocol):
    """Where a comparison is read from; a store, or in tests a roll-up in memory."""

    @property
    def ask(self) -> Ask: ...

    def rolled_up(
        self, subject: Subject, metrics: Sequence[str], span: Span, scorers: Mapping[str, str]
    ) -> RolledUp:
        """Return the sums of *metrics*, with ``request``, in *span*.

        Of a metric in *scorers* only what that scorer scored.
        """
        ...

    def versions(self, subject: Subject, span: Span) -> Mapping[str, Mapping[str, int]]:
        """Return, by arm, the versions that served it, with their requests, those of most first."""
        ...

    def first_hours(self, subject: Subject) -> tuple[int | None, int | None]:
        """Return each side's first hour since 1970, by whatever assigned it; None: it has none."""
        ...

    def started(self, subject: Subject, hour: int) -> tuple[int | None, str]:
        """Return when the canary served first in *hour* (since 1970), and what was assigned."""
        ...

    def metrics(self, subject: Subject, since: int) -> Mapping[str, Sequence[str]]:
        """Return the baseline's metrics with their scorers, those of most requests first."""
        ...

    def facts(self, subject: Subject, metrics: Mapping[str, Sequence[str]], span: Span) -> Facts:
        """Return what else a plan is made of; its unit is not among it."""
        ...

    def thresholds(self, subject: Subject, span: Span) -> Mapping[str, float]:
        """Return the baseline's thresholds, as sources, with the share of its requests above."""
        ...


def now() -> int:
    """Return the time, in whole seconds."""
    return int(time.time())
