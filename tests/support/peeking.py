"""How often each rule raises an alarm in simulated canaries: every rule looks every time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from canaries import Floats, Seen, World, failures, looks_together, naive_variance, z_of
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
    unfloored: float
    """The same sequence of the robust variance alone, without its pooled floor."""
    careless: float
    """Promotion by the variance that was seen, be it 0."""
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
    is_rate: bool = False,
    width: float | None = None,
) -> Alarms:
    """Return what each rule says of *world*."""
    return alarms_together([(world, Asked(tau, margin, is_rate=is_rate, width=width))])[0]


@dataclass(frozen=True)
class Asked:
    """How a world is judged."""

    tau: float
    margin: float
    is_rate: bool = False
    width: float | None = None


def alarms_together(asked: Sequence[tuple[World, Asked]]) -> list[Alarms]:
    """Return what each rule says of several worlds with the same requests; see looks_together."""
    rules = [_Rules(world, how) for world, how in asked]
    for seen in looks_together([world for world, _ in asked]):
        for rule, one in zip(rules, seen, strict=True):
            rule.look(one)
    return [rule.found() for rule in rules]


def event_alarms(world: World, *, counts_all: bool = False) -> float:
    """Return how often the event test says harm of values below 1; first events of sticky users."""
    flagged = np.zeros(world.runs, dtype=bool)
    counts: dict[float, tuple[Floats, Floats]] = {}
    for share, below, above in failures(world, counts_all=counts_all):
        counted = counts.setdefault(share, (np.zeros(world.runs), np.zeros(world.runs)))
        counts[share] = counted[0] + below, counted[1] + above
        flagged |= events.log_e_paths(counts, scale=0.3) >= LEVEL
    return float(flagged.mean())


class _Rules:
    """What each rule has said of one world so far."""

    def __init__(self, world: World, how: Asked) -> None:
        self._how = how
        names = ("harm", "promoted", "z", "pooled", "unfloored", "careless")
        self._first = {name: np.full(world.runs, np.inf) for name in names}

    def look(self, seen: Seen) -> None:
        """Ask every rule."""
        how, found = self._how, estimate(seen.moments)
        ready = (seen.moments.requests_canary >= 30) & (seen.moments.clusters_canary >= 20)
        variance = careful = found.variance
        if how.is_rate:
            careful = np.fmax(variance, variance_of_rate_at(seen.moments, how.margin, 1))
        elif how.width is not None:
            careful = np.fmax(variance, variance_unseen(seen.moments, how.margin, how.width))
        within = found.difference + how.margin
        # Nothing is more certain than a variance of 0, to who believes it.
        believed = np.maximum(variance, 1e-12)
        spoke = {
            "harm": mixture.log_e_one_sided(-found.difference, variance, how.tau) >= LEVEL,
            "promoted": mixture.log_e_one_sided(within, careful, how.tau) >= LEVEL,
            "z": np.abs(z_of(seen)) > 1.959964,
            "pooled": _pooled(seen, how.tau),
            "unfloored": mixture.log_e_two_sided(found.difference, found.robust, how.tau) >= LEVEL,
            "careless": mixture.log_e_one_sided(within, believed, how.tau) >= LEVEL,
        }
        for name, flags in spoke.items():
            new = flags & ready & np.isinf(self._first[name])
            self._first[name][new] = seen.requests

    def found(self) -> Alarms:
        """Return the shares of runs."""
        rates = {name: float(np.mean(np.isfinite(when))) for name, when in self._first.items()}
        return Alarms(**rates, harm_at=self._first["harm"], promoted_at=self._first["promoted"])


def _pooled(seen: Seen, tau: float) -> Flags:
    difference, variance = naive_variance(seen)
    flags: Flags = mixture.log_e_two_sided(difference, variance, tau) >= LEVEL
    return flags
