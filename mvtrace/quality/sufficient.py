"""What a verdict is computed from, small enough to be stored with it. Pure.

In: a plan and a roll-up. Out: ``Sufficient``: a few dozen numbers a metric, however many requests,
hours and buckets there were. Whoever has them and the plan recomputes the verdict to the last
digit.
Law: ``Sufficient.from_dict(sufficient.to_dict()) == sufficient``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import isnan
from typing import Any, Final, Protocol, Self

import numpy as np

from mvtrace.quality.cells import Columns, Delivery, Stratum
from mvtrace.quality.estimators import Moments, beyond, beyond_events, moments
from mvtrace.quality.events import EventCount
from mvtrace.quality.plan import Horizon, Metric, Plan
from mvtrace.quality.sample_ratio import UnitCount
from mvtrace.quality.tables import Table

HOUR_S = 3600
REQUESTS: Final = "request"
"""The source that every request has."""
SETTLED_S: Final = 900
"""So long after an hour its records have come, but for those of a producer that was cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """What is compared, and when it was looked at."""

    baseline: str
    canary: str
    started_at: int
    """Unix seconds: when the canary got its first request that compares; *until* before that."""
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
    settled: tuple[EventCount, ...] = ()
    """Those of the events that came in hours of which no more is awaited."""
    beyond: int = 0
    """Sums of an arm, an hour and a hash bucket that no values within the metric's range have: one
    of them, and nothing is judged by it."""
    buckets: int = 0
    """All sums that count; 0 where none is beyond: they are not told apart in all that is read."""


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
    services: int = 0
    """Those that counted units each for itself, where they are several: no unit is known then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sufficient:
    """All of it."""

    arms: Arms
    baseline: int
    canary: int
    """Requests of each arm; where none are known, those of the deciding metric that most have."""
    paired_hours: int
    """Hours in which both arms served, under a planned share where there is any."""
    settled: int
    """Both arms' requests in those hours, as far as no more of them is awaited."""
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

    def reaches(self, horizon: Horizon | None) -> bool:
        """Whether the last look of *horizon* may be taken: all of its requests have come."""
        return horizon is not None and self.settled >= horizon.requests

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
            settled=said["settled"],
            metrics=tuple(_metric_of(one) for one in said["metrics"]),
            gates=GateSums(**gates),
        )


class RolledUp(Protocol):
    """What a roll-up has, in memory (``cells.RollUp``) or read from a store."""

    @property
    def shares(self) -> Mapping[Stratum, float]:
        """The planned share of the canary; NaN: planned, and not between these two."""
        ...

    @property
    def units(self) -> Mapping[tuple[str, Stratum], int]: ...
    @property
    def deliveries(self) -> Mapping[str, Delivery]: ...
    @property
    def scorers(self) -> Mapping[str, frozenset[str]]: ...
    @property
    def services(self) -> frozenset[str]: ...
    @property
    def mixed(self) -> int: ...
    def columns(self) -> Mapping[tuple[str, str], Columns]: ...


def reduce(plan: Plan, found: RolledUp, arms: Arms) -> Sufficient:
    """Return what *plan* needs of *found*."""
    columns = found.columns()
    tables = _tables(columns, arms.baseline, arms.canary)
    served = _served(plan, tables)
    paired = _paired(served, found)
    begun = min((one.hour * HOUR_S for one in paired), default=arms.until)
    arms = replace(arms, started_at=min(max(arms.started_at, begun), arms.until))
    return Sufficient(
        arms=arms,
        baseline=served.baseline,
        canary=served.canary,
        paired_hours=len({one.hour for one in paired}),
        settled=sum(served.requests_in(one for one in paired if _is_settled(one, arms))),
        metrics=tuple(
            _sums_of(metric, tables.get(plan.source_of(metric)), found, arms)
            for metric in plan.metrics
        ),
        gates=_gate_sums(plan, found, arms, served),
    )


def first_hour(plan: Plan, found: RolledUp, *, baseline: str, canary: str) -> int | None:
    """Return the first hour since 1970 in which both arms have requests that compare."""
    served = _served(plan, _tables(found.columns(), baseline, canary))
    return min((one.hour for one in _paired(served, found)), default=None)


def _tables(
    columns: Mapping[tuple[str, str], Columns], baseline: str, canary: str
) -> dict[str, Table]:
    return {
        name: Table(*(columns.get((name, arm)) for arm in (baseline, canary)))
        for name in sorted({name for name, _ in columns})
    }


def _served(plan: Plan, tables: Mapping[str, Table]) -> Table:
    """Return the table of all requests; else of the metric that most have, of those that decide.

    Several may have scored what decides nothing, each of them every request.
    """
    deciding = {plan.source_of(metric) for metric in plan.metrics if metric.role != "info"}
    those = [tables[name] for name in sorted(deciding & tables.keys())]
    widest = max(those, key=lambda table: table.canary, default=None)
    return tables.get(REQUESTS) or widest or Table(None, None)


def _gate_sums(plan: Plan, found: RolledUp, arms: Arms, served: Table) -> GateSums:
    return GateSums(
        units=_units(found, arms),
        settled=_units(found, arms, is_settled=True),
        deliveries=(found.deliveries.get(arms.baseline), found.deliveries.get(arms.canary)),
        canary=served.canary,
        concurrent=served.concurrent(),
        mixed=found.mixed,
        services=len(found.services),
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
    planned = any(0 < share < 1 or isnan(share) for share in shares.values())
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
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is not known
        off, buckets = _beyond(metric, table, chosen)
        if metric.kind == "event" and not off:
            held["events"] = table.events_in(chosen, shares)
            settled = [one for one in chosen if _is_settled(one, arms)]
            held["settled"] = table.events_in(settled, shares)
        elif metric.kind != "event" and chosen:
            held["moments"] = _numbers(moments(table.contribution_of(chosen)))
    return MetricSums(
        name=metric.name,
        baseline=below,
        canary=above,
        immature=immature,
        unpaired=sum(table.requests_in(mature)) - below - above,
        beyond=off,
        buckets=buckets,
        **held,
    )


def _beyond(metric: Metric, table: Table, chosen: list[Stratum]) -> tuple[int, int]:
    """Return how many sums of *metric* no values in its range have, and then how many count."""
    if metric.kind == "event":
        return table.beyond_in(chosen, beyond_events)
    if metric.limits is None:
        return 0, 0
    low, high = metric.limits
    return table.beyond_in(chosen, lambda buckets: beyond(buckets, low, high))


def _is_mature(stratum: Stratum, metric: Metric, arms: Arms) -> bool:
    if not metric.maturity_hours:
        return True
    return (stratum.hour + 1 + metric.maturity_hours) * HOUR_S <= arms.until


def _is_settled(stratum: Stratum, arms: Arms) -> bool:
    return (stratum.hour + 1) * HOUR_S + SETTLED_S <= arms.until


def _units(found: RolledUp, arms: Arms, *, is_settled: bool = False) -> tuple[UnitCount, ...]:
    """Return the units by planned share: all, or those of hours of which no more is awaited."""
    counts: dict[float, list[int]] = {}
    for (arm, stratum), units in found.units.items():
        if is_settled and not _is_settled(stratum, arms):
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
    for name in ("events", "settled"):
        values[name] = tuple(EventCount(*one) for one in said[name])
    return MetricSums(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, (Sufficient, Arms, MetricSums, GateSums, Moments, Delivery)):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value
