"""The difference of two arms, stratified by exposure hour, clustered by hash bucket. Pure.

In: the sums of each arm's buckets in one stratum (arrays; leading axes are runs of a simulation).
Out: ``Moments``, which add over strata, and from their sum the difference with its variance.

Strata are weighted by x_c x_b / (x_c + x_b), so that hours in which an arm is empty drop out and a
ramp does not mix the drift of the day into the difference. The variance is the larger of two: the
cluster-robust one (Liang and Zeger 1986; with G / (G - 1) for each arm's G buckets, linearised for
ratios as by Deng, Knoblich and Lu 2018), and the one pooled under the null hypothesis times the
design effect. The pooled one is the floor without which arms of 5 and 95 per cent raise false
alarms: a robust variance of few requests is often far too small just when their mean is far off.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDING: Final = 1e-12
"""A variance below this share of the mean square is the rounding of a constant's sums."""
RANGE_ROUNDING: Final = 1e-9
"""And sums beyond a range by less than this share of its ends are rounding too."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """One arm in one stratum: arrays whose last axis is the bucket; see ``cells.Cell``."""

    requests: Floats
    total: Floats
    squares: Floats
    base: Floats
    base_squares: Floats
    cross: Floats

    @classmethod
    def of_values(cls, requests: Floats, total: Floats, squares: Floats) -> Buckets:
        """Return the buckets of a mean: its base is the count."""
        return cls(requests, total, squares, requests, requests, total)

    def __add__(self, other: Buckets) -> Buckets:
        """Return the buckets of both arms together."""
        return Buckets(
            *(getattr(self, one.name) + getattr(other, one.name) for one in fields(self))
        )


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one stratum adds; the arrays that end in *_spread* keep the bucket as last axis."""

    weight: Any
    level: Any
    """Weight times the baseline's mean."""
    difference: Any
    """Weight times the canary's mean less the baseline's."""
    pooled: Any
    """Weight² times the variance of the difference if both arms are one."""
    plain: Any
    """Weight² times the unclustered variance of both arms' common mean."""
    per_canary: Any
    """Weight² over the canary's requests."""
    requests_baseline: Any
    requests_canary: Any
    baseline_spread: Floats
    canary_spread: Floats
    common_spread: Floats
    occupied_baseline: Floats
    occupied_canary: Floats
    """Requests a bucket."""

    def __add__(self, other: Contribution) -> Contribution:
        """Return what both strata add."""
        return Contribution(
            *(getattr(self, one.name) + getattr(other, one.name) for one in fields(self))
        )


@dataclass(frozen=True, slots=True)
class Moments:
    """All that the estimate needs of a metric, however many requests and hours there were."""

    weight: Any
    level: Any
    difference: Any
    pooled: Any
    plain: Any
    per_canary: Any
    requests_baseline: Any
    requests_canary: Any
    clusters_baseline: Any
    clusters_canary: Any
    spread_baseline: Any
    spread_canary: Any
    spread_common: Any


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference (canary less baseline) and the variances it may be judged with."""

    baseline: Any
    """The baseline's mean, in the strata's weights; the canary's is this plus the difference."""
    difference: Any
    robust: Any
    pooled: Any
    design_effect: Any
    variance: Any
    """The larger of both; 0 where all values are one, and nothing can be judged."""


def beyond(buckets: Buckets, low: float, high: float) -> NDArray[np.bool_]:
    """Return which buckets have sums that no values between *low* and *high* have.

    What is stored may be anything: one score of a million would outweigh all others. Nobody can
    tell from sums what they would be without it, and to cut them would take more from the arm with
    more requests in a bucket. Of a ratio each value lies between *low* and *high* times its base.
    """
    largest = max(abs(low), abs(high))
    rounding = RANGE_ROUNDING * largest * buckets.base
    is_within = buckets.total >= low * buckets.base - rounding
    is_within &= buckets.total <= high * buckets.base + rounding
    # The sum of (value - low · base) · (high · base - value), of which none is below 0.
    most = (low + high) * buckets.cross - low * high * buckets.base_squares
    is_within &= buckets.squares <= most + RANGE_ROUNDING * largest**2 * buckets.base_squares
    return np.asarray(~is_within)


def beyond_events(buckets: Buckets) -> NDArray[np.bool_]:
    """Return which buckets have sums that no values have each of which is 0 or 1."""
    is_binary = np.abs(buckets.squares - buckets.total) <= RANGE_ROUNDING * buckets.requests
    return np.asarray(~is_binary | beyond(buckets, 0.0, 1.0))


def contribution(baseline: Buckets, canary: Buckets) -> Contribution:
    """Return what one stratum adds; nothing if an arm is empty in it."""
    arms = [_Arm(one) for one in (baseline, canary)]
    both = _Arm(baseline + canary)
    below, above = arms
    usable = (below.base > 0) & (above.base > 0)
    bases = np.where(usable, below.base + above.base, 1.0)
    weight = np.where(usable, below.base * above.base / bases, 0.0)
    noise = np.where(usable, both.residual_squares() / np.maximum(both.requests - 1, 1), 0.0)
    sizes = _over(below.requests, below.base**2) + _over(above.requests, above.base**2)
    return Contribution(
        weight=weight,
        level=weight * below.mean,
        difference=weight * (above.mean - below.mean),
        pooled=weight**2 * noise * sizes,
        plain=weight**2 * noise * _over(both.requests, both.base**2),
        per_canary=weight**2 * _over(1.0, above.requests),
        requests_baseline=np.where(usable, below.requests, 0.0),
        requests_canary=np.where(usable, above.requests, 0.0),
        baseline_spread=below.residuals(weight),
        canary_spread=above.residuals(weight),
        common_spread=both.residuals(weight),
        occupied_baseline=np.where(usable[..., None], baseline.requests, 0.0),
        occupied_canary=np.where(usable[..., None], canary.requests, 0.0),
    )


def moments(found: Contribution) -> Moments:
    """Return *found*, the sum over all strata, with the buckets summed up too."""
    below, above = _count(found.occupied_baseline), _count(found.occupied_canary)
    either = _count(found.occupied_baseline + found.occupied_canary)
    return Moments(
        weight=found.weight,
        level=found.level,
        difference=found.difference,
        pooled=found.pooled,
        plain=found.plain,
        per_canary=found.per_canary,
        requests_baseline=found.requests_baseline,
        requests_canary=found.requests_canary,
        clusters_baseline=below,
        clusters_canary=above,
        spread_baseline=_spread(found.baseline_spread, below),
        spread_canary=_spread(found.canary_spread, above),
        spread_common=_spread(found.common_spread, either),
    )


def estimate(found: Moments) -> Estimate:
    """Return the difference and its variance; a variance that cannot be told is NaN."""
    weight = np.where(np.asarray(found.weight) > 0, found.weight, np.nan)
    robust = (found.spread_baseline + found.spread_canary) / weight**2
    plain = np.asarray(found.plain)
    ratio = np.where(plain > 0, found.spread_common / np.where(plain > 0, plain, 1.0), 1.0)
    effect = np.maximum(1.0, ratio)
    pooled = found.pooled / weight**2 * effect
    return Estimate(
        baseline=found.level / weight,
        difference=found.difference / weight,
        robust=robust,
        pooled=pooled,
        design_effect=effect,
        variance=np.where(pooled > 0, np.maximum(robust, pooled), pooled),
    )


def variance_of_rate_at(found: Moments, margin: float, sign: int) -> Any:
    """Return the variance of a difference of rates, were the canary worse by exactly *margin*.

    After Farrington and Manning (1990): the rates are those nearest to the data under that
    hypothesis. Without it a canary of thirty requests and no failure would look as if it had no
    variance, and be called no worse.
    """
    known = estimate(found)
    below, above = np.asarray(found.requests_baseline), np.asarray(found.requests_canary)
    shifted = known.baseline + known.difference + sign * margin
    requests = np.maximum(below + above, 1)
    rate = np.clip((below * known.baseline + above * shifted) / requests, 0.0, 1.0)
    worse = np.clip(rate - sign * margin, 0.0, 1.0)
    weight = np.where(np.asarray(found.weight) > 0, found.weight, np.nan)
    per_baseline = weight - found.per_canary
    return (
        known.design_effect
        * (found.per_canary * worse * (1 - worse) + per_baseline * rate * (1 - rate))
        / weight**2
    )


def variance_unseen(found: Moments, margin: float, width: float) -> Any:
    """Return the variance, were the whole margin lost in rare values at the other end of the range.

    A canary of which one request in *width* / *margin* fails totally has this variance before the
    first such request is seen. Without it a score at its ceiling was called no worse, though it was
    by the margin, in 17 % of simulated runs.
    """
    share = min(margin / width, 0.5)
    weight = np.where(np.asarray(found.weight) > 0, found.weight, np.nan)
    effect = estimate(found).design_effect
    return effect * found.per_canary * share * (1 - share) * width**2 / weight**2


class _Arm:
    """The totals of one arm's buckets, and each bucket's residual."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self.requests = buckets.requests.sum(axis=-1)
        self.base = buckets.base.sum(axis=-1)
        self.mean = _over(buckets.total.sum(axis=-1), self.base)

    def residual_squares(self) -> Floats:
        """The sum over requests of (value - mean · base)²."""
        one = self._buckets
        raw = one.squares.sum(axis=-1)
        found = raw - 2 * self.mean * one.cross.sum(axis=-1)
        found = found + self.mean**2 * one.base_squares.sum(axis=-1)
        return np.where(found > ROUNDING * raw, found, 0.0)

    def residuals(self, weight: Floats) -> Floats:
        """Each bucket's part in the weighted mean's error."""
        part = self._buckets.total - self.mean[..., None] * self._buckets.base
        return _over(weight, self.base)[..., None] * part


def _over(above: Any, below: Any) -> Floats:
    """Return *above* / *below*, 0 where *below* is 0."""
    divisor = np.asarray(below, dtype=np.float64)
    return np.where(divisor > 0, above / np.where(divisor > 0, divisor, 1.0), 0.0)


def _count(requests: Floats) -> Floats:
    return np.asarray(np.count_nonzero(requests, axis=-1), dtype=np.float64)


def _spread(residuals: Floats, clusters: Floats) -> Floats:
    """Return G / (G - 1) times the sum of squares; NaN of a single cluster, which tells nothing."""
    factor = np.where(clusters > 1, clusters / np.maximum(clusters - 1, 1), np.nan)
    spread: Floats = factor * (residuals**2).sum(axis=-1)
    return spread
