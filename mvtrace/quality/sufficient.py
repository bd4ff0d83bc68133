"""What a verdict is computed from, small enough to be stored with it. Pure.

In: a plan and a roll-up. Out: ``Sufficient``: a few dozen numbers a metric, however many requests,
hours and buckets there were. Whoever has them and the plan recomputes the verdict to the last
digit.
Law: ``Sufficient.from_dict(sufficient.to_dict()) == sufficient``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import numpy as np

from mvtrace.quality.cells import Columns, Delivery, Stratum
from mvtrace.quality.estimators import Moments, moments
from mvtrace.quality.events import EventCount
from mvtrace.quality.plan import Metric, Plan
from mvtrace.quality.sample_ratio import UnitCount
from mvtrace.quality.tables import Table

HOUR_S = 3600
SETTLED_S = 900
"""So long after an hour its records have come, but for those of a producer that was cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """What is compared, and when it was looked at."""

    baseline: str
    canary: str
    started_at: int
    """Unix seconds: when the canary got its first request."""
    until: int
    """Unix seconds: how far the data reach, in time of exposure and of arrival."""

    @property
    def hours(self) -> float:
        """How long the comparison has been running."""
        return max(0.0, (self.until - self.started_at) / HOUR_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSums:
    """One metric's part; *moments* of means, *events* of events."""

    name: str
    baseline: int
    canary: int
    """Requests that count: mature, and of events under a planned share."""
    immature: int
    """Requests too young to count."""
    unpaired: int
    """Requests in hours in which the other arm had none; of events, and of all where shares are
    planned, in hours without one share."""
    moments: Moments | None = None
    events: tuple[EventCount, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSums:
    """What the gates ask of."""

    units: tuple[UnitCount, ...]
    settled: tuple[UnitCount, ...]
    """Those of them that came in hours of which no more is awaited."""
    deliveries: tuple[Delivery | None, Delivery | None]
    """Of the baseline and of the canary."""
    canary: int
    concurrent: int
    """The canary's requests, and those of them in hours in which the baseline served too."""
    mixed: int
    scorers: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sufficient:
    """All of it."""

    arms: Arms
    baseline: int
    canary: int
    """Requests of each arm: those of the metric that most have."""
    paired_hours: int
    """Hours in which both arms served, under a planned share where there is any."""
    metrics: tuple[MetricSums, ...]
    gates: GateSums

    @property
    def requests(self) -> int:
        """Both arms' requests."""
        return self.baseline + self.canary

    @property
    def hours(self) -> float:
        """How long both arms have served: a lone early request of the canary is no beginning."""
        return min(self.arms.hours, float(self.paired_hours))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        said = _plain(self)
        return dict(said)

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Self:
        """Return what to_dict made *said* of."""
        gates = dict(said["gates"])
        for name in ("units", "settled"):
            gates[name] = tuple(UnitCount(*one) for one in gates[name])
        gates["deliveries"] = tuple(one and Delivery(**one) for one in gates["deliveries"])
        gates["scorers"] = {name: tuple(those) for name, those in gates["scorers"].items()}
        return cls(
            arms=Arms(**said["arms"]),
            baseline=said["baseline"],
            canary=said["canary"],
            paired_hours=said["paired_hours"],
            metrics=tuple(_metric_of(one) for one in said["metrics"]),
            gates=GateSums(**gates),
        )


class RolledUp(Protocol):
    """What a roll-up has, in memory (``cells.RollUp``) or read from a store."""

    @property
    def shares(self) -> Mapping[Stratum, float]: ...
    @property
    def units(self) -> Mapping[tuple[str, Stratum], int]: ...
    @property
    def deliveries(self) -> Mapping[str, Delivery]: ...
    @property
    def scorers(self) -> Mapping[str, frozenset[str]]: ...
    @property
    def mixed(self) -> int: ...
    def columns(self) -> Mapping[tuple[str, str], Columns]: ...


def reduce(plan: Plan, found: RolledUp, arms: Arms) -> Sufficient:
    """Return what *plan* needs of *found*."""
    columns = found.columns()
    tables = {
        name: Table(*(columns.get((name, arm)) for arm in (arms.baseline, arms.canary)))
        for name in sorted({name for name, _ in columns})
    }
    widest = max(tables.values(), key=lambda table: table.canary, default=None)
    return Sufficient(
        arms=arms,
        baseline=max((table.baseline for table in tables.values()), default=0),
        canary=max((table.canary for table in tables.values()), default=0),
        paired_hours=0 if widest is None else len({one.hour for one in _paired(widest, found)}),
        metrics=tuple(
            _sums_of(metric, tables.get(plan.source_of(metric)), found, arms)
            for metric in plan.metrics
        ),
        gates=_gate_sums(plan, found, arms, widest),
    )


def _gate_sums(plan: Plan, found: RolledUp, arms: Arms, widest: Table | None) -> GateSums:
    return GateSums(
        units=_units(found, arms),
        settled=_units(found, arms, before=arms.until - SETTLED_S),
        deliveries=(found.deliveries.get(arms.baseline), found.deliveries.get(arms.canary)),
        canary=0 if widest is None else widest.canary,
        concurrent=0 if widest is None else widest.concurrent(),
        mixed=found.mixed,
        scorers={
            metric.name: tuple(sorted(found.scorers.get(plan.source_of(metric), ())))
            for metric in plan.metrics
            if metric.role != "info"  # what decides nothing needs no one scorer
        },
    )


def _paired(table: Table, found: RolledUp) -> list[Stratum]:
    """Return the strata that compare: both arms have requests in them.

    Where shares are planned, what neither was assigned by is no sample of the same traffic.
    """
    shares = found.shares
    planned = any(0 < share < 1 for share in shares.values())
    return [
        one
        for one in table.strata()
        if all(table.requests_in([one])) and (not planned or 0 < shares.get(one, 0.0) < 1)
    ]


def _sums_of(metric: Metric, table: Table | None, found: RolledUp, arms: Arms) -> MetricSums:
    if table is None:
        return MetricSums(name=metric.name, baseline=0, canary=0, immature=0, unpaired=0)
    shares, strata = found.shares, table.strata()
    mature = [one for one in strata if _is_mature(one, metric, arms)]
    immature = sum(table.requests_in(set(strata) - set(mature)))
    if metric.kind == "event":
        chosen = [one for one in mature if 0 < shares.get(one, 0.0) < 1]
    else:
        chosen = [one for one in _paired(table, found) if _is_mature(one, metric, arms)]
    below, above = table.requests_in(chosen)
    held: dict[str, Any] = {}
    if metric.kind == "event":
        held["events"] = table.events_in(chosen, shares)
    elif chosen:
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large is not known
            held["moments"] = _numbers(moments(table.contribution_of(chosen, metric.limits)))
    return MetricSums(
        name=metric.name,
        baseline=below,
        canary=above,
        immature=immature,
        unpaired=sum(table.requests_in(mature)) - below - above,
        **held,
    )


def _is_mature(stratum: Stratum, metric: Metric, arms: Arms) -> bool:
    if not metric.maturity_hours:
        return True
    return (stratum.hour + 1 + metric.maturity_hours) * HOUR_S <= arms.until


def _units(found: RolledUp, arms: Arms, *, before: int | None = None) -> tuple[UnitCount, ...]:
    """Return the units by planned share; with *before* of the hours that ended by then."""
    counts: dict[float, list[int]] = {}
    for (arm, stratum), units in found.units.items():
        if before is not None and (stratum.hour + 1) * HOUR_S > before:
            continue
        share = found.shares.get(stratum)
        if share is not None and 0 < share < 1 and arm in (arms.baseline, arms.canary):
            counts.setdefault(share, [0, 0])[arm == arms.canary] += units
    return tuple(UnitCount(share, *counts[share]) for share in sorted(counts))


def _numbers(found: Moments) -> Moments:
    """Return *found* with plain numbers; what is not known (one cluster) is None."""
    return Moments(*(_number(getattr(found, one.name)) for one in fields(found)))


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def known(found: Moments) -> Moments:
    """Return *found* as the estimators take it: NaN for what is not known."""
    values = (getattr(found, one.name) for one in fields(found))
    return Moments(*(float("nan") if value is None else value for value in values))


def _metric_of(said: Mapping[str, Any]) -> MetricSums:
    values = dict(said)
    values["moments"] = said["moments"] and Moments(**said["moments"])
    values["events"] = tuple(EventCount(*one) for one in said["events"])
    return MetricSums(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, (Sufficient, Arms, MetricSums, GateSums, Moments, Delivery)):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value
