"""The one last look of a declared horizon, at fixed size: p-values. Pure.

A plan that names its horizon before data may spend a part of alpha on one test at the end, which is
more powerful there than a test that holds at every look; the sequential rule keeps the rest. Both
together err with alpha at most, by the union bound. The test is a t test on the clusters of the
canary, or of events the exact conditional test (Przyborowski and Wilenski 1940).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

from mvtrace.quality.events import EventCount, shifted

Floats = NDArray[np.float64]


def p_of_mean(difference: float, variance: float, freedom: float) -> float:
    """Return p of "the true difference is not above 0", with *freedom* degrees of freedom."""
    if not (variance > 0 and freedom >= 1):
        return 1.0
    return float(stats.t.sf(difference / math.sqrt(variance), freedom))


def p_of_events(events: Sequence[EventCount], margin: float) -> tuple[float, float]:
    """Return p of "the canary's rate is not above the baseline's", and of "not below margin times".

    Given how many events there were, the canary's are binomial, one binomial for each planned
    share.
    """
    seen = sum(one.canary for one in events)
    if len(events) == 1:  # no sum of all terms: of a million events they took a second
        number = events[0].baseline + seen
        even, worse = (shifted(events[0].share, ratio) for ratio in (1.0, margin))
        return float(stats.binom.sf(seen - 1, number, even)), float(
            stats.binom.cdf(seen, number, worse)
        )
    equal, more = _distribution(events, 1.0), _distribution(events, margin)
    return min(1.0, float(equal[seen:].sum())), min(1.0, float(more[: seen + 1].sum()))


def _distribution(events: Sequence[EventCount], ratio: float) -> Floats:
    """Return the probability of each number of the canary's events, at this ratio of rates."""
    found: Floats = np.ones(1)
    for one in events:
        number = one.baseline + one.canary
        part = stats.binom.pmf(np.arange(number + 1), number, shifted(one.share, ratio))
        found = np.maximum(signal.convolve(found, part), 0.0)
    return found
