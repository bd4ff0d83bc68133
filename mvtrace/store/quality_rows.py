"""The statements of a comparison: what of a roll-up, or of raw rows, they return.

In: ``Asked``. Out: what there is (``Met``), and cells as columns: they come in the engine's own
format, so that nothing is parsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mvtrace.quality.sources import SEPARATOR, made_of
from mvtrace.store.native import SIZES, Cells, columns_of, joined
from mvtrace.store.session import Parameters, Rows, Settings
from mvtrace.store.statements import statement

Side = Literal["version", "arm"]

REQUEST: Final = "request"
UNIT: Final = ">unit"
"""Units that were met for the first time."""
MIXED: Final = ">mixed"
"""Requests that more than one version served."""
HOUR_S: Final = 3600
LAST_HOUR: Final = (2**32 - 1) // HOUR_S - 1
"""A later one would be taken for one of 1970."""
_CODE: Final = (
    "toUInt32(transform(metric, {metrics:Array(String)}, {places:Array(UInt32)}, toUInt32(0)) * 2"
    " + {side})"
)
_BASES: Final = (
    ", sum(base) AS y, sum(base_squares) AS yy, sum(cross) AS xy",
    ", bucket_base AS y, bucket_base_squares AS yy, bucket_cross AS xy",
)
"""Of rows that are grouped, and of lists."""
_OF_CELLS: Final = ("bucket", "n", "x", "xx", "y", "yy", "xy")
_PLACE: Final = r"indexOf({strata:Array(String)}, concat(rollout, '\x1f', phase))"
_SETTLED: Final = (
    "transform(toString(composite_version), {settled_from:Array(String)},"
    " {settled_to:Array(String)}, toString(composite_version))"
)
_HELD: Final = (
    " AND transform(toString(metric), {held_metrics:Array(String)}, {held_scorers:Array(String)},"
    " toString(scorer)) = scorer"
)
MAX_PHASES: Final = 200
MAX_HOURS: Final = 100_000
"""More planned shares, or hours of all metrics, sides, arms and scorers, are refused: so many are
those of a year by four metrics, and take about a gigabyte with their buckets."""
KEYS: Final = {"version": "composite_version", "arm": "arm"}


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
    scorers: tuple[tuple[str, str], ...] = ()
    """Metrics of which only what one scorer scored counts, with that scorer."""
    settled: tuple[tuple[str, str], ...] = ()
    """Versions that count as one of the two, which they were on the way to, with that one."""

    @property
    def hours(self) -> tuple[int, int]:
        """The first and the last hour since 1970; the store knows none after LAST_HOUR."""
        return min(self.since // HOUR_S, LAST_HOUR), min((self.until - 1) // HOUR_S, LAST_HOUR)


class Met(NamedTuple):
    """What one side has of a metric under one planned share, hour by hour."""

    metric: str
    side: int
    """0: what was asked for as baseline; 1: as canary."""
    rollout: str
    phase: str
    scorers: frozenset[str]
    places: frozenset[tuple[str, str]]
    """Environments and services, of what is counted once a unit."""
    hours: NDArray[np.int64]
    arms: NDArray[np.int64]
    """Of requests, beside each hour: 0 they were drawn as stable, 1 as canary, 2 as neither."""
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

    def __init__(
        self, source: Source, asked: Asked, rows: str = "hourly", needed: Sequence[str] = ()
    ) -> None:
        """*needed* are metrics that are to be met too."""
        self._source = source
        self._side = side_of(asked)
        self._rows = text_of(rows) + _condition(asked)
        first, last = asked.hours
        self._given: dict[str, Any] = {
            "project": asked.project,
            **chosen(asked),
            "asked_metrics": [*(asked.metrics or ()), *needed, REQUEST, UNIT, MIXED],
            "since_hour": first,
            "until_hour": last,
            "limit": MAX_HOURS + 1,
            **_scorers(asked),
        }
        is_some = asked.metrics is not None
        self._asked = " AND metric IN {asked_metrics:Array(String)}" if is_some else ""

    def met(self) -> list[Met]:
        """Return what there is, of the metrics that are asked for: some more than may be."""
        sql = self._sql("hours", self._rows + self._asked)
        return [_met(row) for row in self._source.query(sql, self._given).rows]

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
        rows = self._rows + " AND metric IN {metrics:Array(String)}"
        if not is_plain:
            rows = text_of("unfolded").replace("{rows}", rows)
        sql = self._sql("folded" if is_plain else "cells", rows)
        for placeholder, part in (
            ("{code}", _CODE.replace("{side}", self._side)),
            ("{bases}", _BASES[is_plain] if has_bases else ""),
            ("{stratum}", "1" if len(strata) == 1 else _PLACE),
        ):
            sql = sql.replace(placeholder, part)
        return columns_of(self._source.raw(sql, given, "Native"))

    def _sql(self, name: str, rows: str) -> str:
        return text_of(name).replace("{rows}", rows).replace("{side}", self._side)


def by_code(cells: Cells) -> dict[int, Cells]:
    """Return the cells of each code.

    Each has ``hour`` and ``stratum``, of so many cells as ``sizes`` says, and what the cells sum.
    """
    if not cells:
        return {}
    codes, listed = cells["code"].astype(np.int64), cells.get(f"bucket{SIZES}")
    if listed is None:
        order = np.argsort(codes, kind="stable")  # as they were grouped
        codes, cells = codes[order], {name: one[order] for name, one in cells.items()}
    sizes = np.ones(len(codes), np.intp) if listed is None else listed.astype(np.intp)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    starts = np.flatnonzero(np.diff(codes, prepend=-1)).tolist()
    runs: dict[int, list[Cells]] = {}  # several of one code, where parts are not merged yet
    for first, last in pairwise([*starts, len(codes)]):
        whole = slice(ends[first], ends[last])
        part = {name: cells[name][whole] for name in cells if name in _OF_CELLS}
        rows = {name: cells[name][first:last] for name in ("hour", "stratum")}
        run = {**rows, **part, "sizes": sizes[first:last]}
        runs.setdefault(int(codes[first]), []).append(run)
    return {code: joined(those) for code, those in runs.items()}


def side_of(asked: Asked) -> str:
    """Return the expression that is 1 of what was asked for as canary, and else 0."""
    return f"({key_of(asked)} = {{canary:String}})"


def key_of(asked: Asked) -> str:
    """Return the expression that tells the sides apart."""
    return _SETTLED if asked.settled else KEYS[asked.by]


def sides_of(asked: Asked) -> dict[str, Any]:
    """Return the parameters of that expression, and the names of both sides."""
    froms, tos = zip(*asked.settled, strict=True) if asked.settled else ((), ())
    settled = {"settled_from": list(froms), "settled_to": list(tos)} if asked.settled else {}
    return {"baseline": asked.baseline, "canary": asked.canary, **settled}


def chosen(asked: Asked) -> dict[str, Any]:
    """Return the parameters of the condition on requests."""
    return {**sides_of(asked), **_optional(asked)}


def _optional(asked: Asked) -> dict[str, str]:
    given = {name: getattr(asked, name) for name in ("environment", "service", "rollout")}
    return {name: value for name, value in given.items() if value is not None}


def _condition(asked: Asked) -> str:
    both = f" AND {KEYS[asked.by]} IN ({{baseline:String}}, {{canary:String}})"
    if asked.settled:
        both = (
            f" AND ({KEYS[asked.by]} IN ({{baseline:String}}, {{canary:String}})"
            f" OR has({{settled_from:Array(String)}}, {KEYS[asked.by]}))"
        )
    return (
        both
        + "".join(f" AND {name} = {{{name}:String}}" for name in _optional(asked))
        + _HELD * bool(asked.scorers)
    )


def _scorers(asked: Asked) -> dict[str, list[str]]:
    """Return the parameters of the condition on scorers."""
    if not asked.scorers:
        return {}
    metrics, scorers = zip(*asked.scorers, strict=True)
    return {"held_metrics": list(metrics), "held_scorers": list(scorers)}


def _met(row: Sequence[Any]) -> Met:
    name, side, drawn, share, scorers, places, hours, arms, *sums = row
    return Met(
        str(name),
        int(side),
        str(drawn),
        str(share),
        frozenset(map(str, scorers)),
        frozenset((str(one).split(SEPARATOR)[0], str(one).split(SEPARATOR)[-1]) for one in places),
        np.asarray(hours, dtype=np.int64),
        np.asarray(arms, dtype=np.int64),
        np.array([np.asarray(one, dtype=np.float64) for one in sums]),
    )


def text_of(name: str) -> str:
    """Return the statement *name* of comparisons."""
    return statement(f"quality/{name}")
