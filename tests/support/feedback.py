"""Simulated feedback that comes late, or not at all: many runs, an hour a look.

Each request is for itself, so what the estimators need of it is known in closed form, without a
bucket for each: ``moments_of_requests``. Values are 0 or 1: given or not, up or down.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from canaries import Floats

from mvtrace.quality.estimators import Buckets, Moments, contribution, moments


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """What users tell of one arm."""

    answered: float = 0.3
    """The share of requests that are ever judged, if they were good."""
    answered_bad: float | None = None
    """If they were bad; None: as often."""
    good: float = 0.9
    hours: float = 4.0
    """The mean time until it comes."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """All runs at one look: by arm, run and hour of exposure."""

    requests: Floats
    up: Floats
    down: Floats

    @property
    def given(self) -> Floats:
        """Requests that were judged, either way."""
        return self.up + self.down


@dataclass(frozen=True, kw_only=True)
class Town:
    """Two arms, and how many requests they get."""

    baseline: Feedback
    canary: Feedback
    share: float = 0.1
    an_hour: int = 2000
    hours: int = 30
    runs: int = 400
    seed: int = 41


def told(town: Town) -> Iterator[Told]:
    """Yield what is known after each hour."""
    generator = np.random.default_rng(town.seed)
    above = generator.binomial(town.an_hour, town.share, (town.runs, town.hours))
    requests = np.stack([town.an_hour - above, above])
    good = np.stack(
        [
            generator.binomial(requests[arm], one.good)
            for arm, one in enumerate((town.baseline, town.canary))
        ]
    )
    waiting = np.stack([good, requests - good])  # by outcome, arm, run, hour
    for arm, one in enumerate((town.baseline, town.canary)):
        bad = one.answered if one.answered_bad is None else one.answered_bad
        for outcome, chance in enumerate((one.answered, bad)):
            waiting[outcome, arm] = generator.binomial(waiting[outcome, arm], chance)
    means = np.array([town.baseline.hours, town.canary.hours])
    come = (1 - np.exp(-1 / means))[None, :, None, None]
    came = np.zeros_like(waiting)
    for hour in range(1, town.hours + 1):
        new = generator.binomial(waiting[..., :hour], come)
        waiting[..., :hour] -= new
        came[..., :hour] += new
        yield Told(
            requests=requests[..., :hour].astype(np.float64),
            up=came[0, ..., :hour].astype(np.float64),
            down=came[1, ..., :hour].astype(np.float64),
        )


def moments_of_requests(requests: Floats, total: Floats) -> Moments:
    """Return the moments of 0 and 1 where each request is its own cluster.

    Both arrays are by arm, run and stratum; a stratum where an arm has none drops out.
    """
    parts = [Buckets.of_values(*(one[arm][..., None] for one in (requests, total, total)))
             for arm in (0, 1)]  # fmt: skip
    found = contribution(parts[0], parts[1])
    summed = moments(type(found)(*(_over_strata(getattr(found, name)) for name in found.__slots__)))
    weight = found.weight
    usable = weight > 0
    counts = np.where(usable, requests, 0.0)
    clusters = counts.sum(axis=-1)

    def spread(number: Floats, ones: Floats, of_all: Floats) -> Floats:
        noise = _divided(ones * (number - ones), number)
        size = np.where(of_all > 1, of_all / np.maximum(of_all - 1, 1), math.nan)
        result: Floats = size * (_divided(weight, number) ** 2 * noise).sum(axis=-1)
        return result

    return replace(
        summed,
        clusters_baseline=clusters[0],
        clusters_canary=clusters[1],
        spread_baseline=spread(requests[0], total[0], clusters[0]),
        spread_canary=spread(requests[1], total[1], clusters[1]),
        spread_common=spread(requests.sum(0), total.sum(0), clusters.sum(0)),
    )


def _over_strata(values: Floats) -> Floats:
    """Return the sum over strata; of arrays by bucket the bucket stays last."""
    return values.sum(axis=-2) if values.ndim > 2 else values.sum(axis=-1)


def _divided(above: Floats, below: Floats) -> Floats:
    found: Floats = above / np.where(below > 0, below, 1.0) * (below > 0)
    return found
