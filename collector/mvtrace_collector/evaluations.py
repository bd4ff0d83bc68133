"""Evaluations that name a trace alone: whose they are, whatever came first.

In: the stage of a segment that holds evaluations, or records. Out: where an evaluation came before
any record of its trace, its scores once more under the trace's first request that has a record, and
the hours of such requests. The rows are the same each time, so that a replay repeats none.
"""

from __future__ import annotations

from typing import Final

from mvtrace.store.session import Session
from mvtrace_collector.statements import statement

_SETTINGS: Final = (
    "async_insert = 0, insert_deduplicate = 0, max_threads = 1, max_insert_threads = 1, "
    "max_partitions_per_insert_block = 0"
)


class Evaluations:
    """Settles those of one segment, after its records and scores are stored."""

    def __init__(self, session: Session, database: str) -> None:
        self._session = session
        self._database = database

    def settle(self, *, has_records: bool, has_events: bool) -> list[tuple[str, int]]:
        """Return the hours (since 1970) of requests, by project, that scores were found to be of.

        Raises:
            StatementFailedError: the store refuses.
            UnavailableError: it does not answer.
        """
        if has_events:
            self._run("evaluated_traces")
        if not has_records:
            self._run("records_stage_create")  # none of this segment, and none of another
        if not has_events and not self._count("evaluations_waiting"):
            return []
        self._run("owners_stage")
        rows = self._session.query(statement("owners_hours", self._database)).rows
        if rows:
            self._run("scores_owned")
            self._run("evaluations_owned")
        return [(str(project), int(hour)) for project, hour in rows]

    def _count(self, name: str) -> int:
        return int(self._session.query(statement(name, self._database)).rows[0][0])

    def _run(self, name: str) -> None:
        text = statement(name, self._database).replace("{insert_settings}", _SETTINGS)
        self._session.command(text)
