"""One hour of one project, brought from raw rows into the roll-up.

In: the project, the hour (since 1970), and what its plans ask for. Out: rows of ``quality_units``
and ``quality_hourly``, as many as differ from what is stored. An hour is always made anew from all
its requests and scores, so whatever is swept twice, late or in another order comes out the same,
and a second time nothing is written.

Which request is the first of its unit depends on earlier hours. Where late data change in which
hours a unit was met, the next hour that it was met in is to be made anew too; those hours are told
before anything is stored, so that a kill in between loses none of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from mvtrace.quality.sources import Asked
from mvtrace.store.session import Session
from mvtrace_collector.quality_progress import now_ms
from mvtrace_collector.statements import statement

HOUR_MS: Final = 3_600_000
STAGED: Final = 50_000
"""Requests of an hour, of which at most the values are held in memory, about 100 MB."""
BUCKETS: Final = 256
BUCKET: Final = f"toInt64(sipHash64('mvtrace.quality/1', clustered) % {BUCKETS})"
"""A bucket of units, by another salt and another hash than draw their arm."""
IN_FORCE_MS: Final = 30 * 86_400_000
"""How long after a verdict its plan is asked for."""
MAX_IN_FORCE: Final = 100
SLACK_MS: Final = 600_000
"""How much later than it was received something may be stored."""
SETTINGS: Final = {
    "max_threads": 1,
    "max_execution_time": 120,
    "max_memory_usage": 2 << 30,
    "optimize_read_in_order": 1,
    "compile_expressions": 0,
    "compile_aggregate_expressions": 0,
    "compile_sort_description": 0,
}
"""One thread: sums are added in the order of the requests, to the same last digit each time."""
_STEADY: Final = {"query_plan_join_swap_table": "false", "query_plan_optimize_join_order_limit": 0}
"""For engines that have them: a join keeps the order of its left side."""


class QualitySweep:
    """Sweeps one *project*."""

    def __init__(self, session: Session, database: str, project: str) -> None:
        self._session = session
        self._database = database
        self._project = project
        self._revision = 0
        self._in_force: dict[str, tuple[int, Any]] = {}
        self._verdicts_ms = 0

    def sweep(
        self, hour: int, asked: Asked, *, prices: str, again: Callable[[list[int]], None]
    ) -> None:
        """Make *hour* anew; *again* is told, before the store is, which later hours are next.

        Raises:
            StatementFailedError: the store refuses, for example since a statement took too long.
            UnavailableError: it does not answer.
        """
        given: dict[str, Any] = {**hour_ids(hour), **asked.parameters()}
        given |= {"prices": prices, "hour": hour}
        values = self._values(given)
        self._stage("met", values=values, **given)
        self._command("quality_changed_create")
        self._command("quality_changed_stage", **given)
        later = [int(row[0]) for row in self._query("quality_again", **given)]
        if later:
            again(later)
        self._command("quality_units", hour=hour, revision=self._next_revision())
        self._stage("firsts", **given)
        self._stage("mixed", **given)
        self._stage("cells", values=values, **given)
        self._command("quality_hourly", hour=hour, revision=self._next_revision())

    def is_empty(self, hour: int) -> bool:
        """Return whether *hour* has no requests, and never had any in the roll-up.

        Of such an hour somebody sent scores; there is nothing to make anew.
        """
        if self._query("quality_counted", **hour_ids(hour))[0][0]:
            return False
        return not self._query("quality_known", hour=hour)[0][0]

    def missing(self, metric: str, made: str, *, since: int) -> list[int]:
        """Return the hours from *since* on that have *metric* and not yet what is *made* of it."""
        found = self._query("quality_missing", metric=metric, made=made, since=since)
        return [int(row[0]) for row in found]

    def plans(self) -> list[Any]:
        """Return the bodies of the project's plans: those by which verdicts are kept, then others.

        Whoever may send data may register plans, and only who governs keeps verdicts: a thousand
        new plans push out none that decides.
        """
        since = self._verdicts_ms or now_ms() - IN_FORCE_MS
        for plan, body, kept_ms in self._query("quality_in_force", since_ms=since):
            self._in_force[str(plan)] = (int(kept_ms), body)
            self._verdicts_ms = max(self._verdicts_ms, int(kept_ms) - SLACK_MS)
        newest = sorted(self._in_force.items(), key=lambda one: (-one[1][0], one[0]))
        self._in_force = dict(newest[:MAX_IN_FORCE])
        kept = [body for _, body in self._in_force.values()]
        return [*kept, *(row[0] for row in self._query("quality_plans"))]

    def _values(self, given: dict[str, Any]) -> str:
        """Return the statement for what each request is worth: staged, where that is little.

        Half of what a sweep of few requests takes is for the engine to understand that statement.
        """
        counted = self._query("quality_counted", **given)[0][0]
        values = self._text("quality_values")
        if counted > STAGED:
            return values
        self._command("quality_worth_create")
        staged = self._text("quality_worth_stage").replace("{values}", values)
        self._command_text(staged, given)
        return self._text("quality_worth")

    def _stage(self, what: str, *, values: str = "", **given: Any) -> None:
        """Fill the temporary table ``stage_<what>``."""
        self._command(f"quality_{what}_create")
        text = self._text(f"quality_{what}_stage")
        text = text.replace(f"{{{what}}}", self._text(f"quality_{what}"))
        for placeholder, part in (
            ("{firsts}", "SELECT metric, request_id, scorer FROM stage_firsts"),
            ("{mixed}", "SELECT request_id FROM stage_mixed"),
            ("{cluster}", BUCKET),
            ("{values}", values),
        ):
            text = text.replace(placeholder, part)
        self._command_text(text, given)

    def _next_revision(self) -> int:
        self._revision = max(self._revision + 1, time.time_ns())
        return self._revision

    def _text(self, name: str) -> str:
        return statement(name, self._database)

    def _query(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        bound = {"project": self._project, **parameters}
        return self._session.query(self._text(name), bound).rows

    def _command(self, name: str, **parameters: Any) -> None:
        self._command_text(self._text(name), parameters)

    def _command_text(self, text: str, parameters: dict[str, Any]) -> None:
        self._session.command(text, {"project": self._project, **parameters})


def hour_ids(hour: int) -> dict[str, str]:
    """Return the first and the last id that a request of *hour* can have, as the SQL takes them."""
    return {
        "first": f"{hour * HOUR_MS:012x}{'0' * 20}",
        "last": f"{(hour + 1) * HOUR_MS - 1:012x}{'f' * 20}",
    }


def steady(session: Session) -> None:
    """Set what keeps rows in their order, as far as the engine knows it."""
    session.set({key: value for key, value in _STEADY.items() if session.knows_setting(key)})
