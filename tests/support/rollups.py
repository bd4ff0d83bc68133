"""Roll-ups of made-up comparisons: requests one by one into cells, as the store's roll-up does
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from mvtrace.quality.cells import Cell, CellKey, Delivery, RollUp, Stratum
from mvtrace.quality.plan import Gates, Metric, Plan
from mvtrace.quality.sufficient import Arms

STARTED = 480_000
"""The first hour, since 1970."""
DRAWN, BUCKETS = 256, 64
"""Fewer buckets than a roll-up has: what tests show does not depend on it, and takes a quarter."""


class Served(NamedTuple):
    """One request's value of one metric."""

    arm: str
    metric: str
    hour: int
    bucket: int
    value: float


def cells_of(requests: Iterable[Served]) -> dict[CellKey, Cell]:
    """Return the cells of *requests*."""
    cells: dict[CellKey, Cell] = {}
    for one in requests:
        key = CellKey(one.arm, one.metric, Stratum(one.hour), one.bucket)
        cell = Cell.of([one.value])
        cells[key] = cells[key] + cell if key in cells else cell
    return cells


def rolled_up(
    rates: Mapping[str, tuple[float, float]],
    *,
    requests: int = 400,
    hours: int = 30,
    share: float = 0.1,
    served_share: float | None = None,
    seed: int = 1,
) -> RollUp:
    """Return a roll-up of 0/1 metrics: by name the rates of the stable arm and of the canary.

    *requests* an hour; *share* is what was planned, *served_share* what was done.
    """
    generator = np.random.default_rng(seed)
    done = share if served_share is None else served_share
    cells: dict[CellKey, Cell] = {}
    units: dict[tuple[str, Stratum], int] = {}
    for hour in range(STARTED, STARTED + hours):
        stratum = Stratum(hour)
        above = int(generator.binomial(requests, done))
        for arm, number in (("stable", requests - above), ("canary", above)):
            units[arm, stratum] = number
            drawn = generator.multinomial(number, np.full(DRAWN, 1 / DRAWN))
            buckets = drawn.reshape(-1, BUCKETS).sum(axis=0)
            for name, both in rates.items():
                good = generator.binomial(drawn, both[arm == "canary"])
                totals = good.reshape(-1, BUCKETS).sum(axis=0)
                for bucket in np.flatnonzero(buckets).tolist():
                    total = float(totals[bucket])
                    cells[CellKey(arm, name, stratum, bucket)] = Cell.of_sums(
                        int(buckets[bucket]), total, total
                    )
    return RollUp(
        cells=cells,
        shares={Stratum(hour): share for hour in range(STARTED, STARTED + hours)},
        units=units,
        deliveries={
            "stable": Delivery(expected=100_000, received=99_990),
            "canary": Delivery(expected=10_000, received=9_999),
        },
    )


def arms_after(hours: float) -> Arms:
    """Return the arms, looked at so many hours after the start."""
    started = STARTED * 3600
    return Arms(
        baseline="stable", canary="canary", started_at=started, until=started + round(hours * 3600)
    )


def plan_of(*metrics: Metric, **changes: object) -> Plan:
    """Return a plan with *metrics*: success with a margin of three points, if there are none."""
    if not metrics:
        metrics = (Metric(name="success", kind="rate", margin=0.03),)
    return Plan(**{"name": "a canary", "metrics": metrics, "gates": Gates(), **changes})  # type: ignore[arg-type]
