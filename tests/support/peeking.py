"""How often each rule raises an alarm in simulated canaries: every rule looks every time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from canaries import Floats, Seen, World, looks, naive_variance, z_of
from numpy.typing import NDArray

from mvtrace.quality import events, mixture
from mvtrace.quality.estimators import (
    estimate,
    variance_of_rate_at,
    variance_unseen,
)

ALPHA = 0.05
LEVEL = -math.log(ALPHA)
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Alarms:
    """By rule: the share of runs in which it ever spoke, and at which request each run's did first."""

    harm: float
    promoted: float
    z: float
    pooled: float
    """The asymptotic confidence sequence of totals: without hours and without users."""
    harm_at: Floats
    promoted_at: Floats
    """Infinite where it never did."""

    def detected_by(self, requests: float) -> float:
        """The share of runs that saw harm by then."""
        return float(np.mean(self.harm_at <= requests))

    def promoted_by(self, requests: float) -> float:
        """The share of runs that were found no worse by then."""
        return float(np.mean(self.promoted_at <= requests))


def alarms(
    world: World,
    *,
    tau: float = 0.02,
    margin: float = 0.02,
    sign: int = 1,
    is_rate: bool = False,
    width: float | None = None,
) -> Alarms:
    """Return what each rule says of *world*; *sign*: -1 where less is better."""
    first = {name: np.full(world.runs, np.inf) for name in ("harm", "promoted", "z", "pooled")}
    for seen in looks(world):
        ready = (seen.moments.requests_canary >= 30) & (seen.moments.clusters_canary >= 20)
        found = estimate(seen.moments)
        oriented, variance = sign * found.difference, found.variance
        careful = variance
        if is_rate:
            careful = np.fmax(variance, variance_of_rate_at(seen.moments, margin, sign))
        elif width is not None:
            careful = np.fmax(variance, variance_unseen(seen.moments, margin, width))
        spoke = {
            "harm": mixture.log_e_one_sided(-oriented, variance, tau) >= LEVEL,
            "promoted": mixture.log_e_one_sided(oriented + margin, careful, tau) >= LEVEL,
            "z": np.abs(z_of(seen)) > 1.959964,
            "pooled": _pooled(seen, tau),
        }
        for name, flags in spoke.items():
            new = flags & ready & np.isinf(first[name])
            first[name][new] = seen.requests
    rates = {name: float(np.mean(np.isfinite(when))) for name, when in first.items()}
    return Alarms(**rates, harm_at=first["harm"], promoted_at=first["promoted"])


def event_alarms(world: World) -> float:
    """Return how often the event test says harm of values below 1; first events of sticky users."""
    flagged = np.zeros(world.runs, dtype=bool)
    before = np.zeros(world.runs), np.zeros(world.runs)
    counts: dict[float, tuple[Floats, Floats]] = {}
    for look, seen in enumerate(looks(world, counts_firsts=True)):
        share = world.share_at(look)
        added = tuple(now - then for now, then in zip(seen.firsts, before, strict=True))
        before = seen.firsts[0].copy(), seen.firsts[1].copy()
        counted = counts.setdefault(share, (np.zeros(world.runs), np.zeros(world.runs)))
        counts[share] = counted[0] + added[0], counted[1] + added[1]
        flagged |= events.log_e_paths(counts, scale=0.3) >= LEVEL
    return float(flagged.mean())


def _pooled(seen: Seen, tau: float) -> Flags:
    difference, variance = naive_variance(seen)
    flags: Flags = mixture.log_e_two_sided(difference, variance, tau) >= LEVEL
    return flags
