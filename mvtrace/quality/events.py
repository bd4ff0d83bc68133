"""The event e-process: is the canary's part of the bad events larger than its share? Pure, exact.

In: for each planned share of the canary, how many events each arm had. Given that an event
happened, under the null hypothesis it is the canary's with probability pi, its planned share; a
rate that is e^beta times the baseline's makes it q(beta) = pi e^beta / (1 - pi + pi e^beta). The
likelihood ratio q / pi for a canary's event, (1 - q) / (1 - pi) for a baseline's, is a martingale,
and so is its mean over betas: above 1/alpha ever with probability alpha at most, at any sample size
and with any drift of the rate (Ville 1939; Lindon and Malek 2022, inhomogeneous processes
conditioned on an event).

It is exact if units are assigned independently with the planned share and each unit counts once:
for sticky units count the first event of each alone. The betas are EVENT_POINTS between 0 and four
times the scale, weighted by a half-normal distribution of that scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EVENT_POINTS: Final = 40
_REACH: Final = 4.0
_BOUND: Final = 30.0
"""Logarithms of ratios are looked for up to e^30."""
_STEPS: Final = 80


class EventCount(NamedTuple):
    """The events in all strata with one planned share of the canary."""

    share: float
    baseline: int
    canary: int


def log_e_more(events: Sequence[EventCount], *, scale: float, ratio: float = 1.0) -> float:
    """Return ln E against "the canary's rate is at most *ratio* times the baseline's"."""
    return _log_e(events, scale, ratio, 1.0)


def log_e_fewer(events: Sequence[EventCount], *, scale: float, ratio: float = 1.0) -> float:
    """Return ln E against "the canary's rate is at least *ratio* times the baseline's".

    With the margin as *ratio* this is the question of non-inferiority.
    """
    return _log_e(events, scale, ratio, -1.0)


def log_e_paths(
    counts: Mapping[float, tuple[Floats, Floats]],
    *,
    scale: float,
    ratio: float = 1.0,
    sign: int = 1,
) -> Floats:
    """Return ln E for arrays of counts, by planned share the baseline's and the canary's.

    *sign* 1 asks for more events, as log_e_more does of each place, -1 for fewer.
    """
    betas, log_weights = _mixture(scale)
    exponents: Any = 0.0
    for share, (baseline, canary) in counts.items():
        ours, theirs = _log_ratios(shifted(share, ratio), sign * betas)
        exponents = exponents + canary[..., None] * ours + baseline[..., None] * theirs
    return _log_sum(exponents + log_weights)


def ratio_interval(
    events: Sequence[EventCount], *, scale: float, alpha: float
) -> tuple[float, float | None]:
    """Return the confidence sequence of the ratio of rates: what neither side rejects at alpha / 2.

    From 0 and to None where nothing bounds it.
    """
    level = math.log(2 / alpha)
    low, high = 0.0, None
    if log_e_more(events, scale=scale, ratio=math.exp(-_BOUND)) >= level:
        low = _crossing(lambda ratio: log_e_more(events, scale=scale, ratio=ratio) >= level)
    if log_e_fewer(events, scale=scale, ratio=math.exp(_BOUND)) >= level:
        high = _crossing(lambda ratio: log_e_fewer(events, scale=scale, ratio=ratio) < level)
    return low, high


def rate_ratio(events: Sequence[EventCount]) -> float | None:
    """Return the ratio of rates, Mantel and Haenszel's (1959) over the shares; None if unknown."""
    above = sum(one.canary * (1 - one.share) for one in events)
    below = sum(one.baseline * one.share for one in events)
    return above / below if below else None


def shifted(share: float, ratio: float) -> float:
    """Return the canary's share of the events if its rate is *ratio* times the baseline's."""
    return ratio * share / (ratio * share + 1 - share)


def _log_e(events: Sequence[EventCount], scale: float, ratio: float, sign: float) -> float:
    betas, log_weights = _mixture(scale)
    exponents = np.zeros_like(betas)
    for one in events:
        ours, theirs = _log_ratios(shifted(one.share, ratio), sign * betas)
        exponents = exponents + one.canary * ours + one.baseline * theirs
    return float(_log_sum(exponents + log_weights))


def _log_ratios(null: float, betas: Floats) -> tuple[Floats, Floats]:
    """Return ln(q / pi) and ln((1 - q) / (1 - pi)) for each beta."""
    total = np.logaddexp(math.log1p(-null), math.log(null) + betas)
    return betas - total, -total


def _log_sum(exponents: Floats) -> Floats:
    """Return ln of the sum of e^x over the last axis; SciPy's takes ten times as long."""
    largest = exponents.max(axis=-1)
    found: Floats = largest + np.log(np.exp(exponents - largest[..., None]).sum(axis=-1))
    return found


@lru_cache(maxsize=64)
def _mixture(scale: float) -> tuple[Floats, Floats]:
    """Return the betas and the logarithms of their weights, which sum to 1."""
    betas = scale * _REACH * np.arange(1, EVENT_POINTS + 1) / EVENT_POINTS
    log_weights = -0.5 * (betas / scale) ** 2
    return betas, log_weights - _log_sum(log_weights)


def _crossing(holds: Any) -> float:
    """Return the ratio up to which *holds* holds; it does at e^-30 and not at e^30."""
    low, high = -_BOUND, _BOUND
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if holds(math.exp(middle)):
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)
