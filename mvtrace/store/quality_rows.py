"""The statements of a comparison: what of a roll-up, or of raw rows, they return.

In: ``Asked``. Out: what there is (``Met``), and cells as one NumPy array whose fields are columns:
they come in the engine's own row format, so that nothing is parsed. Raw rows are made to rows of
the roll-up by the collector's own statements, which are read from its package; none of its code is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mvtrace.quality.sources import BAD_EVENTS, FIRST, GIVEN, SEPARATOR, made_of
from mvtrace.quality.sources import Asked as AskedMetrics
from mvtrace.store.native import Cells, columns_of
from mvtrace.store.session import Parameters, Rows, Session, Settings
from mvtrace.store.statements import statement

Side = Literal["version", "arm"]

REQUEST: Final = "request"
UNIT: Final = ">unit"
"""Units that were met for the first time."""
MIXED: Final = ">mixed"
"""Requests that more than one version served."""
BUCKET: Final = "toInt64(sipHash64('mvtrace.quality/1', clustered) % 256)"
"""The buckets of the roll-up; a test holds them equal."""
OF_UNIT: Final = "reinterpretAsInt64(sipHash64('mvtrace.quality/1', clustered))"
HOUR_S: Final = 3600
_HOUR_MS: Final = 3_600_000
_PLACE: Final = r"indexOf({strata:Array(String)}, concat(rollout, '\x1f', phase))"
_ONE: Final = {"max_threads": 1}
"""More threads took longer."""
KEYS: Final = {"version": "composite_version", "arm": "arm"}
_STEADY: Final = {
    "max_threads": 1,
    "optimize_read_in_order": 1,
    "query_plan_join_swap_table": "false",
    "query_plan_optimize_join_order_limit": 0,
}
"""Rows keep the order of the requests, so that sums are the same to the last digit each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which requests are compared, and by which metrics."""

    baseline: str
    canary: str
    """Whole composite versions, 64 hex digits; or the names of arms, where *by* says so."""
    by: Side = "version"
    metrics: tuple[str, ...] | None
    """Sources as the roll-up calls them (``plan.source_of(metric)``), ``NAME:first`` included;
    ``request`` is read besides. None: every one there is."""
    since: int
    until: int
    """Unix seconds; whole hours from the one *since* lies in to the one before *until* ends."""
    project: str = "default"
    environment: str | None = None
    service: str | None = None
    """None: any."""
    rollout: str | None = None
    """None: any, and requests that none assigned too; arms are those of one rollout."""

    @property
    def hours(self) -> tuple[int, int]:
        """The first and the last hour since 1970."""
        return self.since // HOUR_S, (self.until - 1) // HOUR_S


class Met(NamedTuple):
    """What one side has of a metric under one planned share, hour by hour."""

    metric: str
    side: int
    """0: what was asked for as baseline; 1: as canary."""
    rollout: str
    phase: str
    arms: frozenset[str]
    scorers: frozenset[str]
    hours: NDArray[np.int64]
    sums: NDArray[np.float64]
    """Two rows: requests, and the sum of their values."""

    @property
    def requests(self) -> int:
        """In all hours."""
        return round(float(self.sums[0].sum()))

    @property
    def is_plain(self) -> bool:
        """Whether no hour is there twice: of two arms, scorers or services."""
        return len(np.unique(self.hours)) == len(self.hours)


class Source(Protocol):
    """What answers: a store, or one connection with its temporary tables."""

    def query(
        self, sql: str, parameters: Parameters | None = None, *, settings: Settings | None = None
    ) -> Rows: ...

    def raw(
        self,
        sql: str,
        parameters: Parameters | None = None,
        format: str = "JSONEachRow",  # noqa: A002 (ClickHouse's word)
        *,
        settings: Settings | None = None,
    ) -> bytes: ...


class Reading:
    """Reads of one question; *rows* is ``hourly``, or ``staged`` where raw rows were staged."""

    def __init__(self, source: Source, asked: Asked, rows: str = "hourly") -> None:
        self._source = source
        self._side = side_of(asked)
        # What is one and the same in all rows needs no place in what tells them apart.
        several = {"environment": asked.environment, "service": asked.service}
        self._keys = "".join(f"{name}, " for name, one in several.items() if one is None)
        self._rows = _text(rows) + _condition(asked)
        first, last = asked.hours
        self._given: dict[str, Any] = {
            "project": asked.project,
            **chosen(asked),
            "asked_metrics": [*(asked.metrics or ()), REQUEST, UNIT, MIXED],
            "since_hour": first,
            "until_hour": last,
        }
        # A collector lets no setting through; whoever opened the store may.
        self._settings = {} if is_bounded(source) else _ONE
        is_some = asked.metrics is not None
        self._asked = " AND metric IN {asked_metrics:Array(String)}" if is_some else ""

    def met(self) -> list[Met]:
        """Return what there is, of the metrics that are asked for."""
        sql = self._sql("hours", self._rows + self._asked).replace("{keys}", self._keys)
        rows = self._source.query(sql, self._given, settings=self._settings).rows
        return [_met(row) for row in rows]

    def cells(
        self, metrics: Sequence[str], strata: Sequence[tuple[str, str]], *, is_plain: bool = False
    ) -> Cells:
        """Return the cells of *metrics*, which are numbered from 1 as they stand, as *strata* are.

        A stratum is a rollout and a planned share. *is_plain* says that no cell is there twice.
        """
        given = {
            **self._given,
            "metrics": list(metrics),
            "places": list(range(1, len(metrics) + 1)),
            "strata": [SEPARATOR.join(one) for one in strata],
        }
        has_bases = any(made.how == "/" for one in metrics if (made := made_of(one)))
        sql = self._sql("cells", self._rows + " AND metric IN {metrics:Array(String)}")
        bases = ", {sum}(base) AS y, {sum}(base_squares) AS yy, {sum}(cross) AS xy"
        for placeholder, part in (
            ("{bases}", bases if has_bases else ""),
            ("{stratum}", "1" if len(strata) == 1 else _PLACE),
            ("{sum}", "" if is_plain else "sum"),
            ("{group}", "" if is_plain else "\nGROUP BY code, hour, stratum, bucket"),
        ):  # fmt: skip
            sql = sql.replace(placeholder, part)
        return columns_of(self._source.raw(sql, given, "Native", settings=self._settings))

    def _sql(self, name: str, rows: str) -> str:
        return _text(name).replace("{rows}", rows).replace("{side}", self._side)


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
    session.command(_text("met_stage").replace("{met}", met), given)
    session.command(_collectors("quality_cells_create", database))
    session.command(cells, given)


def _raw_parameters(session: Session, asked: Asked) -> dict[str, Any]:
    first, last = asked.hours
    rows = session.query(_text("prices"), {"project": asked.project}).rows
    return {
        **asked_metrics(asked.metrics or ()).parameters(),
        "prices": str(rows[0][0]) if rows else "",
        "begin": "0" * 32,
        "first": f"{first * _HOUR_MS:012x}{'0' * 20}",
        "last": f"{(last + 1) * _HOUR_MS - 1:012x}{'f' * 20}",
    }


def is_bounded(source: Source) -> bool:
    """Whether *source* answers through a collector."""
    return getattr(source, "kind", "") == "collector"


def side_of(asked: Asked) -> str:
    """Return the expression that is 1 of what was asked for as canary, and else 0."""
    return f"({KEYS[asked.by]} = {{canary:String}})"


def chosen(asked: Asked) -> dict[str, str]:
    """Return the parameters of the condition on requests."""
    optional = ("environment", "service", "rollout")
    given = {name: getattr(asked, name) for name in optional}
    return {
        "baseline": asked.baseline,
        "canary": asked.canary,
        **{name: value for name, value in given.items() if value is not None},
    }


def _condition(asked: Asked) -> str:
    named = (name for name in chosen(asked) if name not in ("baseline", "canary"))
    both = f" AND {KEYS[asked.by]} IN ({{baseline:String}}, {{canary:String}})"
    return both + "".join(f" AND {name} = {{{name}:String}}" for name in named)


def asked_metrics(names: Sequence[str]) -> AskedMetrics:
    """Return what the statements over raw rows need to know to make the metrics *names*."""
    plain = [name.removesuffix(FIRST) for name in names]
    firsts = {name.removesuffix(FIRST) for name in names if name.endswith(FIRST)}
    return AskedMetrics(
        events=(*BAD_EVENTS, *sorted(firsts - set(BAD_EVENTS))),
        wanted=tuple(name.removesuffix(GIVEN) for name in plain if name.endswith(GIVEN)),
        sources=tuple(dict.fromkeys(made for name in plain if (made := made_of(name)))),
    )


def _collectors(name: str, database: str) -> str:
    text = (files("mvtrace_collector") / "sql" / f"{name}.sql").read_text("utf-8")
    return text.replace("{database}", database)


def _met(row: Sequence[Any]) -> Met:
    name, side, drawn, share, arms, scorers, hours, *sums = row
    sets = (frozenset(map(str, arms)), frozenset(map(str, scorers)))
    numbers = np.array([np.asarray(one, dtype=np.float64) for one in sums])
    return Met(
        str(name),
        int(side),
        str(drawn),
        str(share),
        *sets,
        np.asarray(hours, dtype=np.int64),
        numbers,
    )


def _text(name: str) -> str:
    return statement(f"quality/{name}")
