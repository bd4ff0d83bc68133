"""Rows of the roll-up made of raw ones, for one question, in a temporary table.

In: ``Asked`` and one connection. Out: nothing; ``quality/staged.sql`` reads what it leaves there.
It is done by the collector's own statements, which are read from its package; none of its code is.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from mvtrace.quality.sources import BAD_EVENTS, FIRST, GIVEN, made_of, parts_of
from mvtrace.quality.sources import Asked as AskedMetrics
from mvtrace.store.quality_rows import Asked, text_of
from mvtrace.store.session import Session

BUCKET: Final = "toInt64(sipHash64('mvtrace.quality/1', clustered) % 256)"
"""The buckets of the roll-up; a test holds them equal."""
OF_UNIT: Final = "reinterpretAsInt64(sipHash64('mvtrace.quality/1', clustered))"
_HOUR_MS: Final = 3_600_000
_STEADY: Final = {
    "max_threads": 1,
    "optimize_read_in_order": 1,
    "query_plan_join_swap_table": "false",
    "query_plan_optimize_join_order_limit": 0,
}
"""Rows keep the order of the requests, so that sums are the same to the last digit each time."""


def stage_raw(session: Session, database: str, asked: Asked, *, per_unit: bool) -> None:
    """Make rows of the roll-up of raw ones, into a temporary table of *session*.

    Raises:
        StatementFailedError: the store refuses.
        UnavailableError: it does not answer.
    """
    session.set({key: value for key, value in _STEADY.items() if session.knows_setting(key)})
    given = {"project": asked.project, **_raw_parameters(session, asked)}
    values = _collectors("quality_values", database)
    # What is first is first of all that was before, not of what was since the time asked for.
    before = values.replace("{first:String}", "{begin:String}")
    met = _collectors("quality_met", database).replace("{values}", before)
    cells = _collectors("quality_cells_stage", database)
    for placeholder, part in (
        ("{cells}", _collectors("quality_cells", database)),
        ("{firsts}", "SELECT metric, request_id, scorer FROM stage_firsts"),
        ("{mixed}", _collectors("quality_mixed", database)),
        ("{cluster}", OF_UNIT if per_unit else BUCKET),
        ("{values}", values),
    ):
        cells = cells.replace(placeholder, part)
    session.command(_collectors("quality_firsts_create", database))
    session.command(text_of("met_stage").replace("{met}", met), given)
    session.command(_collectors("quality_cells_create", database))
    session.command(cells, given)


def _raw_parameters(session: Session, asked: Asked) -> dict[str, Any]:
    first, last = asked.hours
    rows = session.query(text_of("prices"), {"project": asked.project}).rows
    return {
        **asked_metrics(asked.metrics or ()).parameters(),
        "prices": str(rows[0][0]) if rows else "",
        "begin": "0" * 32,
        "first": f"{first * _HOUR_MS:012x}{'0' * 20}",
        "last": f"{(last + 1) * _HOUR_MS - 1:012x}{'f' * 20}",
    }


def asked_metrics(names: Sequence[str]) -> AskedMetrics:
    """Return what the statements over raw rows need to know to make the metrics *names*."""
    plain = [name.removesuffix(FIRST) for name in names]
    firsts = {name.removesuffix(FIRST) for name in names if name.endswith(FIRST)}
    return AskedMetrics(
        events=(*BAD_EVENTS, *sorted(firsts - set(BAD_EVENTS))),
        wanted=tuple(name.removesuffix(GIVEN) for name in plain if name.endswith(GIVEN)),
        sources=tuple(dict.fromkeys(made for name in plain if (made := made_of(name)))),
        planned=tuple(dict.fromkeys(one for name in plain for one in (name, *parts_of(name)))),
    )


def _collectors(name: str, database: str) -> str:
    text = (files("mvtrace_collector") / "sql" / f"{name}.sql").read_text("utf-8")
    return text.replace("{database}", database)
