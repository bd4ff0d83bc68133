"""Evaluations that name a trace alone: one request has them, whatever came first.

In: the stage of a segment that holds evaluations, or records. Out: which request each such
evaluation is of (``stage_homes``), and where a record has come that is the trace's first by now,
the scores moved to it. Each evaluation is stored once, and where it is depends on what is stored,
not on the order in which it came; loaded again, a segment changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mvtrace.store.session import Session
from mvtrace_collector.statements import quoted, statement

_SETTINGS: Final = (
    "async_insert = 0, insert_deduplicate = 0, max_threads = 1, max_insert_threads = 1, "
    "max_partitions_per_insert_block = 0"
)
_AT_A_TIME: Final = 1_000
"""So many rows are taken away by one statement."""


class Evaluations:
    """Settles those of one segment; its records and events are stored already."""

    def __init__(self, session: Session, database: str) -> None:
        self._session = session
        self._database = database
        self._has_homes = False

    def find(self, logs: Mapping[str, Any]) -> None:
        """Find out where those of the segment's traces belong, before its scores are stored.

        *logs* says what is in the segment (logs_survey.sql).

        Raises:
            StatementFailedError: the store refuses.
            UnavailableError: it does not answer.
        """
        has_events, has_records = logs["scores"] and logs["events"], bool(logs.get("records"))
        if not has_events and not (has_records and self._count("evaluations_waiting")):
            if logs["scores"]:
                self._run("homes_none")
            return
        if not has_records:
            self._run("records_stage_create")  # none of this segment, and none of another
        self._run("homes_stage")
        self._run("evaluated_traces")
        self._has_homes = True

    def settle(self) -> list[tuple[str, int]]:
        """Move those that are elsewhere; return the hours of requests that got or lost any.

        An hour is one since 1970, beside its project.

        Raises:
            StatementFailedError: the store refuses.
            UnavailableError: it does not answer.
        """
        if not self._has_homes or not self._count("homes_left"):
            return []
        self._run("moved_stage")
        rows = self._session.query(statement("scores_left", self._database)).rows
        if not rows:
            return []
        self._run("scores_moved")
        for first in range(0, len(rows), _AT_A_TIME):
            self._take_away(rows[first : first + _AT_A_TIME])
        return sorted({(str(row[0]), int(hour)) for row in rows for hour in row[3:]})

    def _take_away(self, rows: Sequence[Sequence[Any]]) -> None:
        # No temporary table is seen by what takes rows away: they are named one by one.
        listed = ", ".join(
            f"({quoted(str(project))}, unhex('{request}'), unhex('{event}'))"
            for project, request, event, *_ in rows
        )
        self._session.command(
            f"DELETE FROM {self._database}.scores "
            f"WHERE (project, request_id, event_id) IN ({listed}) "
            "SETTINGS lightweight_deletes_sync = 1"
        )

    def _count(self, name: str) -> int:
        return int(self._session.query(statement(name, self._database)).rows[0][0])

    def _run(self, name: str) -> None:
        text = statement(name, self._database).replace("{insert_settings}", _SETTINGS)
        self._session.command(text)
