"""Read what a comparison needs of the store: sums by metric, arm, hour and bucket, never a request.

In: ``Asked``, which says the two sides, the metrics and the time. Out: ``StoredRollUp``, a
``RolledUp`` of ``mvtrace.quality.sufficient``, which ``mvtrace.quality.deciding.compare`` takes
with ``Arms(baseline=asked.baseline, canary=asked.canary, …)``.

By default it is read from ``quality_hourly``, which the collector keeps: a few thousand rows an
hour, however many requests there were. With *exact* it is made from the raw rows by the statements
the collector keeps it with, which takes as long as the requests are many: for audits, and for the
tests that hold the two equal. A metric that a new plan asks for has no cells in those hours that
the collector has not made again yet: what compares is whole hours, fewer of them. One that stopped
while what it is made of goes on has no cells at all (``quality_made``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mvtrace.quality.cells import Columns, Delivery, Stratum
from mvtrace.quality.sources import FIRST
from mvtrace.store.native import Cells
from mvtrace.store.quality_losses import deliveries
from mvtrace.store.quality_made import parts_needed, unmade
from mvtrace.store.quality_raw import stage_raw
from mvtrace.store.quality_rows import (
    MIXED,
    REQUEST,
    UNIT,
    Asked,
    Met,
    Reading,
    Side,
    by_code,
)
from mvtrace.store.quality_strata import (
    check_strata,
    check_units,
    phase_label,
    services_apart,
    shares_of,
)
from mvtrace.store.store import Store

__all__ = ["Asked", "Side", "StoredRollUp", "phase_label", "read_rollup"]

HOURS_AT_ONCE: Final = 3_900
"""Of all metrics of one answer, each of up to 256 rows: a collector gives a million an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRollUp:
    """What was read; the arms are called as they were asked for."""

    cells: Mapping[tuple[str, str], Columns] = field(default_factory=dict)
    """By metric and arm."""
    shares: Mapping[Stratum, float] = field(default_factory=dict)
    """The planned share of what was asked for as canary; NaN: that of another draw."""
    units: Mapping[tuple[str, Stratum], int] = field(default_factory=dict)
    deliveries: Mapping[str, Delivery] = field(default_factory=dict)
    scorers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    services: frozenset[str] = frozenset()
    """Those of one draw, where they are several: each of them counts units and what is first of
    them for itself, so neither is among what is read."""
    mixed: int = 0
    """Requests that more than one version served, or one under the other's arm."""

    def columns(self) -> Mapping[tuple[str, str], Columns]:
        """Return the cells by metric and arm."""
        return self.cells


def read_rollup(
    store: Store, asked: Asked, *, exact: bool = False, per_unit: bool = False
) -> StoredRollUp:
    """Return what *store* has of the requests that are *asked* for.

    With *exact* from raw rows instead of the roll-up; with *per_unit* besides, each unit (user,
    session, else request) is a cluster of its own instead of one of 256 buckets of them. What is
    only counted comes without buckets: ``request``, and ``NAME:first``, of which no variance is
    made.

    Of ``deliveries``: received are the records stored of an arm, expected these and what is missing
    in the numbers of their producers. A record that is lost tells no arm. A gap's missing records
    are given to the arms in proportion to what the same producer recorded around its gaps (a
    process that serves one version loses that version's records); where none of that is stored, in
    proportion to all requests of the time that was asked for. Without a producer that numbers its
    records there are no deliveries.

    Raises:
        StatementFailedError: the store refuses, for example since it is older than the roll-up.
        UnavailableError: it does not answer.
        TooManyStrataError: more is asked for than one comparison takes.
        ValueError: per_unit without exact, baseline and canary are the same, no time is asked for,
            or *exact* where a collector stands before the store.
    """
    _check(asked, exact=exact, per_unit=per_unit)
    if exact and store.kind == "collector":
        raise ValueError("raw rows are compared by whoever opens the store itself")
    if not exact:
        met, columns = _read(Reading(store, asked, needed=parts_needed(asked.metrics or ())), asked)
    else:
        with store.session() as session:
            stage_raw(session, store.database, asked, per_unit=per_unit)
            met, columns = _read(Reading(session, asked, "staged"), asked)
        if per_unit:
            check_units(columns)
    units = {arm: columns.pop((UNIT, arm)) for metric, arm in list(columns) if metric == UNIT}
    columns = {key: one for key, one in columns.items() if key[0] != MIXED}
    services = services_apart(met)
    if services:
        units = {}
        columns = {key: one for key, one in columns.items() if not key[0].endswith(FIRST)}
    shares, belied = shares_of(met)
    return StoredRollUp(
        cells=columns,
        shares=shares,
        units=_units(units),
        deliveries=deliveries(store, asked, _served(met)),
        scorers=_scorers(met),
        services=services,
        mixed=belied + sum(one.requests for one in met if one.metric == MIXED),
    )


def _check(asked: Asked, *, exact: bool, per_unit: bool) -> None:
    if per_unit and not exact:
        raise ValueError("the roll-up has buckets of units only: per_unit needs exact")
    if asked.baseline == asked.canary:
        raise ValueError(f"{asked.baseline!r} is asked for as baseline and as canary")
    if not 0 <= asked.since < asked.until:
        raise ValueError(f"no time is from {asked.since} to {asked.until}")


def _read(reading: Reading, asked: Asked) -> tuple[list[Met], dict[tuple[str, str], Columns]]:
    met = reading.met()
    check_strata(met)
    left_out = {*unmade(met), *parts_needed(asked.metrics or ())}
    met = [one for one in met if one.metric not in left_out]
    strata = sorted({(one.rollout, one.phase) for one in met})
    columns = _without_buckets(met, asked)
    for part in _parts(met):
        is_plain = all(one.is_plain for one in met if one.metric in part)
        cells = reading.cells(part, strata, is_plain=is_plain)
        columns.update(_with_buckets(cells, part, strata, asked))
    return met, columns


def _parts(met: Iterable[Met]) -> Iterator[list[str]]:
    """Yield the metrics that come with buckets, so many at a time as one answer may hold."""
    hours: Counter[str] = Counter()
    for one in met:
        if not _is_counted(one.metric):
            hours[one.metric] += len(one.hours)
    part: list[str] = []
    for name in sorted(hours):
        if part and sum(hours[one] for one in (*part, name)) > HOURS_AT_ONCE:
            yield part
            part = []
        part.append(name)
    if part:
        yield part


def _is_counted(metric: str) -> bool:
    """Whether only its totals are asked for, and no variance: then buckets need not be read."""
    return metric in (REQUEST, UNIT, MIXED) or metric.endswith(FIRST)


def _without_buckets(met: Iterable[Met], asked: Asked) -> dict[tuple[str, str], Columns]:
    """Return the hours of the metrics that are only counted, as one bucket."""
    parts: dict[tuple[str, str], list[Columns]] = {}
    for one in met:
        if _is_counted(one.metric):
            hours, places = np.unique(one.hours, return_inverse=True)
            count, total = (np.bincount(places, row, len(hours)) for row in one.sums)
            sums = np.array([count, total, total, count, count, total])  # each value is 0 or 1
            label = _constant(phase_label(one.rollout, one.phase), len(hours))
            found = Columns(hours, label, np.zeros(len(hours), dtype=np.int64), sums)
            parts.setdefault((one.metric, _arm(asked, one.side)), []).append(found)
    return {key: _joined(those) for key, those in parts.items()}


def _with_buckets(
    cells: Cells, names: Sequence[str], strata: Sequence[tuple[str, str]], asked: Asked
) -> dict[tuple[str, str], Columns]:
    """Return *cells* by metric and arm."""
    labels = ["", *(phase_label(*one) for one in strata)]
    found = {}
    for code, part in by_code(cells).items():
        place, side = divmod(code, 2)
        found[names[place - 1], _arm(asked, side)] = _columns(part, labels)
    return found


def _columns(cells: Cells, labels: Sequence[str]) -> Columns:
    sizes, count, total = cells["sizes"].astype(np.intp), cells["n"], cells["x"]
    # What a mean divides by is the count; see ``Cell``.
    bases = (cells["y"], cells["yy"], cells["xy"]) if "y" in cells else (count, count, total)
    sums = np.empty((6, len(count)))
    for row, one in zip(sums, (count, total, cells["xx"], *bases), strict=True):
        row[:] = one
    return Columns(
        hours=np.repeat(cells["hour"].astype(np.int64), sizes),
        phases=_named(cells["stratum"], sizes, labels),
        buckets=cells["bucket"].astype(np.int64),
        sums=sums,
    )


def _named(
    places: NDArray[Any], sizes: NDArray[np.intp], labels: Sequence[str]
) -> NDArray[np.str_]:
    first = int(places[0])
    if bool((places == first).all()):
        return _constant(labels[first], int(sizes.sum()))
    return np.repeat(np.array(labels)[places.astype(np.intp)], sizes)


def _constant(label: str, length: int) -> NDArray[np.str_]:
    """Return *label* so often, at the cost of one."""
    return np.broadcast_to(np.array(label), length)


def _joined(those: Sequence[Columns]) -> Columns:
    if len(those) == 1:
        return those[0]
    return Columns(
        hours=np.concatenate([one.hours for one in those]),
        phases=np.concatenate([one.phases for one in those]),
        buckets=np.concatenate([one.buckets for one in those]),
        sums=np.concatenate([one.sums for one in those], axis=1),
    )


def _arm(asked: Asked, side: int) -> str:
    return asked.canary if side else asked.baseline


def _units(columns: Mapping[str, Columns]) -> dict[tuple[str, Stratum], int]:
    units: Counter[tuple[str, Stratum]] = Counter()
    for arm, one in columns.items():
        for hour, phase, seen in zip(one.hours, one.phases, one.sums[0], strict=True):
            units[arm, Stratum(int(hour), str(phase))] += round(seen)
    return dict(units)


def _scorers(met: Iterable[Met]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for one in met:
        if one.scorers:
            found[one.metric] = found.get(one.metric, frozenset()) | one.scorers
    return found


def _served(met: Iterable[Met]) -> tuple[int, int]:
    """Return both sides' requests."""
    both = [0, 0]
    for one in met:
        if one.metric == REQUEST:
            both[one.side] += one.requests
    return both[0], both[1]
