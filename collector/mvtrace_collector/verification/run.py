"""The whole verification, as a stream: progress while it runs, the result at its end.

In: an open store, since when, whether to repair, where the inbox lies. Out: plain dicts, each one
line of JSON: ``{"progress": …}`` and at last ``{"result": …}``. Memory is bounded: request ids go
range by range within a month, each of at most RANGE_REQUESTS requests or RANGE_SPANS spans.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mvtrace.store.session import Session
from mvtrace.store.store import Store
from mvtrace_collector.verification import ranges, segments
from mvtrace_collector.verification.ranges import Range, RangeCheck
from mvtrace_collector.verification.registry import StoreCheck
from mvtrace_collector.verification.tally import Tally

RANGE_REQUESTS: Final = 10_000
RANGE_SPANS: Final = 100_000
SETTINGS: Final = {
    "max_threads": "2",
    "max_memory_usage": str(2 << 30),
    "max_bytes_before_external_group_by": str(512 << 20),
}
_TABLES: Final = {"requests": RANGE_REQUESTS, "spans": RANGE_SPANS}
_END: Final = "f" * 32


class Verification:
    """One verification of one store."""

    def __init__(
        self,
        store: Store,
        *,
        since_ms: int = 0,
        repair: bool = False,
        inbox: Path | None = None,
        settled_ms: int | None = None,
    ) -> None:
        """*settled_ms*: what was received later may be half-way into the tables."""
        self._store = store
        self._since_ms = since_ms
        self._repair = repair
        self._inbox = inbox
        self._settled_ms = time.time_ns() // 1_000_000 if settled_ms is None else settled_ms

    def run(self) -> Iterator[dict[str, Any]]:
        """Yield progress, then the result."""
        started = time.monotonic()
        with self._store.session(SETTINGS) as session:
            tallies: list[Tally] = []
            of_ranges = ranges.new_tallies()
            check = RangeCheck(
                session,
                self._store.database,
                of_ranges,
                repair=self._repair,
                settled_ms=self._settled_ms,
            )
            for project, month in self._months(session):
                for one in self._ranges(session, project, month):
                    check.run(one)
                    yield _progress(f"records of {month}", of_ranges.digests.checked)
            tallies += of_ranges
            whole = StoreCheck(session, self._store.database, since_ms=self._since_ms)
            yield _progress("registry", of_ranges.digests.checked)
            tallies += whole.registry()
            if self._inbox is not None:
                of_segments = segments.new_tally()
                for done, total in segments.recount(
                    session, self._store.database, self._inbox, of_segments
                ):
                    yield _progress(f"segment {done} of {total}", of_segments.checked)
                tallies.append(of_segments)
            tallies += whole.damage()
        yield {"result": self._result(tallies, time.monotonic() - started)}

    def _result(self, tallies: list[Tally], seconds: float) -> dict[str, Any]:
        return {
            "ok": not any(tally.is_failing for tally in tallies),
            "since_ms": self._since_ms,
            "repair": self._repair,
            "seconds": round(seconds, 2),
            "checks": [tally.to_dict() for tally in tallies],
        }

    def _months(self, session: Session) -> list[tuple[str, str]]:
        """Return the projects and months that hold anything request-keyed."""
        found = " UNION DISTINCT ".join(
            f"SELECT DISTINCT project, _partition_id AS month FROM {table} "
            "WHERE request_id >= toFixedString(unhex({after:String}), 16)"
            for table in ("requests", "spans", "request_aliases", "events")
        )
        rows = session.query(
            f"SELECT project, month FROM ({found}) ORDER BY month, project",
            {"after": self._first_id},
        ).rows
        return [(str(project), str(month)) for project, month in rows]

    @property
    def _first_id(self) -> str:
        """The lowest id of the time asked for, in hex digits."""
        return f"{self._since_ms:012x}{'0' * 20}"

    def _ranges(self, session: Session, project: str, month: str) -> Iterator[Range]:
        """Yield ranges that together hold every id of *month*, none of them too much."""
        after = self._first_id
        while after != _END:
            bounds = [
                self._bound(session, table, size, Range(project, month, after, _END))
                for table, size in _TABLES.items()
            ]
            upto = min(bounds)
            yield Range(project, month, after, upto)
            after = upto

    def _bound(self, session: Session, table: str, size: int, within: Range) -> str:
        """Return the id up to which *table* has *size* rows, or the end of all ids."""
        rows = session.query(
            f"SELECT lower(hex(request_id)) FROM {table} WHERE {ranges.WITHIN} "
            "ORDER BY request_id LIMIT 1 OFFSET {size:UInt64}",
            {**within.parameters, "size": size - 1},
        ).rows
        return str(rows[0][0]) if rows else _END


def _progress(what: str, checked: int) -> dict[str, Any]:
    return {"progress": {"what": what, "checked": checked}}
