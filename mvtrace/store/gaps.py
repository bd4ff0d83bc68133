"""Read gaps and the ends of producers.

In: a producer, a moment or a filter. Out: :class:`Gap` and :class:`ProducerEnd`. Who holds the open
gaps by heart, as a collector does, gives them as :class:`OpenGaps`, and nothing is asked of the
store for an ordinary request. A store that has no such tables yet has no gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from mvtrace.errors import StatementFailedError
from mvtrace.explain.gaps import NEAR_MS, SKEW_MS, Gap, ProducerEnd
from mvtrace.store.filters import GapFilter
from mvtrace.store.request_ids import dashed
from mvtrace.store.session import Rows
from mvtrace.store.statements import Statements

MAX_NEAR: Final = 1_000
_UNKNOWN_TABLE: Final = 60


class OpenGaps(Protocol):
    """Somebody who knows the open gaps by heart; None says: ask the table."""

    def near(self, project: str, producer_id: str, unix_ms: int) -> tuple[Gap, ...] | None:
        """Return the open gaps of a producer within NEAR_MS of a moment."""

    def covering(self, project: str, unix_ms: int) -> tuple[Gap, ...] | None:
        """Return the open gaps that a request of that moment may be one of."""


class Gaps:
    """Reads of one project; safe for several threads, as the store is."""

    def __init__(self, statements: Statements, known: OpenGaps | None = None) -> None:
        self._statements = statements
        self._known = known

    def near(self, producer_id: str, unix_ms: int) -> tuple[Gap, ...]:
        """Return the open gaps of a producer near a moment."""
        known = self._known
        project = self._statements.project
        found = known.near(project, producer_id, unix_ms) if known else None
        if found is None:
            found = self.listed(_around(unix_ms, NEAR_MS), producer_id=producer_id)
        return found

    def covering(self, unix_ms: int) -> tuple[Gap, ...]:
        """Return the open gaps that a request of that moment may be one of."""
        known = self._known
        found = known.covering(self._statements.project, unix_ms) if known else None
        if found is None:
            found = self.listed(_around(unix_ms, SKEW_MS))
        return tuple(gap for gap in found if gap.covers(unix_ms))

    def listed(self, wanted: GapFilter, *, producer_id: str = "") -> tuple[Gap, ...]:
        """Return the gaps that *wanted* lets through, of one producer or of all, latest first."""
        found = self._rows(
            "gaps",
            producer=producer_id.replace("-", ""),
            service=wanted.service or "",
            environment=wanted.environment or "",
            since_ms=wanted.since_ms,
            until_ms=wanted.until_ms,
            only_open=int(not wanted.filled_too),
            limit=wanted.limit,
        )
        return tuple(_gap(row) for row in found)

    def end_of(self, producer_id: str) -> ProducerEnd | None:
        """Return how a producer ended; None while it runs, as far as is known."""
        found = self._rows("producer_end", producer=producer_id.replace("-", ""))
        if not found or found[0][0] == "running":
            return None
        return ProducerEnd(producer_id=producer_id, state=found[0][0], ended_at=found[0][1])

    def find(self, wanted: GapFilter) -> list[dict[str, Any]]:
        """Return the gaps that *wanted* lets through as plain values, the latest first."""
        return [gap.to_dict() for gap in self.listed(wanted)]

    def _rows(self, name: str, **parameters: Any) -> Sequence[tuple[Any, ...]]:
        try:
            found: Rows = self._statements.run(name, **parameters)
        except StatementFailedError as error:
            if error.store_code == _UNKNOWN_TABLE:
                return ()
            raise
        return found.rows


def _around(unix_ms: int, within_ms: int) -> GapFilter:
    return GapFilter(since_ms=unix_ms - within_ms, until_ms=unix_ms + within_ms, limit=MAX_NEAR)


def _gap(row: Sequence[Any]) -> Gap:
    producer, first, last, ranges, reason, service, environment, after, before, detected = row
    return Gap(
        producer_id=dashed(producer.lower()),
        first=first,
        last=last,
        missing_ranges=tuple(_ranges(ranges)),
        reason=reason,
        service=service,
        environment=environment,
        started_after=after,
        started_before=before,
        detected_at=detected,
    )


def _ranges(ranges: Iterable[Any]) -> Iterable[tuple[int, int]]:
    """Yield tuples of the engine as plain ones, however the client gave them."""
    for one in ranges:
        first, last = one.values() if isinstance(one, Mapping) else one
        yield int(first), int(last)
