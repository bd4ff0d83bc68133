"""A request's record together with the requests it called: one look at the table, not two.

In: a request id. Out: its newest revision, and the first lines about what names it as its parent. A
statement costs what it plans more than what it reads, and a called request starts while its parent
runs: nearly always within seconds, so next to it in the sort order. For a parent that ran longer
the rest of its time is looked at once more. What else is stored about a request is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mvtrace.explain.evidence import RequestHead, StoredRecord
from mvtrace.ids import unix_ms_of
from mvtrace.store import rows
from mvtrace.store.request_ids import hexadecimal, highest_id, lowest_id
from mvtrace.store.statements import Statements

SOON_MS: Final = 10_000
"""What a request calls this soon comes with its record."""
CHILD_SKEW_MS: Final = 2_000
"""Clocks of calling and called hosts may differ by this much."""
MAX_CHILD_SPAN_MS: Final = 600_000
"""Requests called later than this after the start are not looked for."""
MAX_MS: Final = (1 << 48) - 1
"""The last millisecond that an id can tell."""
MAX_ROWS: Final = 200
"""Rows of a look, a revision each."""


class Called:
    """Looks for requests below others; safe for several threads."""

    def __init__(self, statements: Statements) -> None:
        self._run = statements.run

    def with_record(self, request_id: str) -> tuple[StoredRecord | None, tuple[RequestHead, ...]]:
        """Return what is stored of *request_id* itself, and what it called within SOON_MS."""
        started_ms = unix_ms_of(request_id)
        found = self._run(
            "request_and_called",
            request_id=hexadecimal(request_id),
            first=hexadecimal(lowest_id(started_ms - CHILD_SKEW_MS)),
            last=hexadecimal(highest_id(min(started_ms + SOON_MS, MAX_MS))),
            limit=MAX_ROWS,
        ).rows
        own = [row[1:] for row in found if rows.id_text(row[0]) == request_id]
        if not own and len(found) == MAX_ROWS:  # crowded out by what it called
            return self.record(request_id), _heads(found, request_id)
        return rows.stored_record(own), _heads(found, request_id)

    def record(self, request_id: str) -> StoredRecord | None:
        """Return what is stored of *request_id* itself."""
        found = self._run("request_record", request_id=hexadecimal(request_id))
        return rows.stored_record(found.rows)

    def later(self, request_id: str, ended_at: int | None) -> tuple[RequestHead, ...]:
        """Return what *request_id* called after SOON_MS, where it ran that long."""
        started_ms = unix_ms_of(request_id)
        ended_ms = min((ended_at or 0) // 1_000_000, started_ms + MAX_CHILD_SPAN_MS)
        if ended_ms + CHILD_SKEW_MS <= started_ms + SOON_MS:
            return ()
        found = self._run(
            "called_requests",
            request_id=hexadecimal(request_id),
            first_child=hexadecimal(lowest_id(started_ms + SOON_MS + 1)),
            last_child=hexadecimal(highest_id(ended_ms + CHILD_SKEW_MS)),
        )
        return tuple(rows.request_heads(found.rows).values())


def _heads(found: Iterable[rows.Row], request_id: str) -> tuple[RequestHead, ...]:
    """Return the first lines about those of *found* that are not *request_id* itself."""
    others = ((rows.id_text(row[0]), row[1]) for row in found)
    return _distinct(rows.recorded_head(one, body) for one, body in others if one != request_id)


def _distinct(heads: Iterable[RequestHead]) -> tuple[RequestHead, ...]:
    return tuple({head.request_id: head for head in heads}.values())
