"""The batches the inbox still has, counted again in the store.

In: the inbox's directory. Out: a tally of rows. Each retained segment goes the loader's whole way
once more, up to the point of inserting; then the loader's own counting says whether the tables hold
what was accepted. Segments that expire meanwhile are left out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mvtrace.errors import StatementFailedError
from mvtrace.store.session import Session
from mvtrace_collector.dialects import NO_CALLS, Columns
from mvtrace_collector.segment_writer import segment_path
from mvtrace_collector.stage import SegmentStage, UnloadableSegmentError
from mvtrace_collector.verification.tally import Tally


def new_tally() -> Tally:
    """Return a tally that has seen nothing."""
    return Tally(
        "accepted batches",
        "the tables hold every row of the batches that the inbox still has",
        hint="Stop the collector, delete index.sqlite in the inbox and start it: it loads what "
        "it has once more, and the same rows stay one.",
    )


class Recount(SegmentStage):
    """Goes the way of a segment without inserting, and notes what the tables hold of it."""

    def __init__(self, session: Session, database: str) -> None:
        super().__init__(session, database, token="")
        self.retention_days = 1  # content may be kept no longer than that
        self.counted: list[tuple[str, int, int]] = []
        """Table, rows expected, rows found."""

    def _insert(
        self, name: str, calls: Columns = NO_CALLS, *, suffix: str = "", **parameters: Any
    ) -> None:
        """Insert nothing."""

    def _insert_by_month(
        self, name: str, months: Sequence[int], calls: Columns = NO_CALLS, **parameters: Any
    ) -> None:
        """Insert nothing."""

    def _verify(self, table: str, expected: int, *, name: str = "") -> None:
        ((found,),) = self._query(name or f"{table}_verify").rows
        self.counted.append((table, expected, int(found)))


def stored_segments(inbox: Path) -> list[tuple[int, Path]]:
    """Return number and path of the segments that were stored and are still there."""
    index = inbox / "index.sqlite"
    if not index.exists():
        return []
    with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True, timeout=5)) as connection:
        rows = connection.execute("SELECT id FROM segments WHERE state = 'stored' ORDER BY id")
        numbers = [int(row[0]) for row in rows]
    return [(number, segment_path(inbox, number)) for number in numbers]


def recount(
    session: Session, database: str, inbox: Path, tally: Tally
) -> Iterator[tuple[int, int]]:
    """Count each retained segment's rows again; yield how many of how many are done."""
    segments = stored_segments(inbox)
    for done, (number, path) in enumerate(segments, 1):
        stage = Recount(session, database)
        try:
            stage.load(path)
        except FileNotFoundError:
            continue
        except (UnloadableSegmentError, StatementFailedError):
            # One batch at least is in quarantine; the others were stored in parts.
            tally.examples.append(f"segment {number} holds a batch that cannot be loaded")
            continue
        for table, expected, found in stage.counted:
            tally.checked += expected
            if found < expected:
                text = f"segment {number}: {table} holds {found:,} of {expected:,} rows"
                tally.found([text], count=expected - found)
        yield done, len(segments)
