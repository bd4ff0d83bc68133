"""How many more requests a decision needs, if things stay as they are or the arms are equal. Pure.

In: a difference with its variance, or counts of events, and the levels of evidence. Out:
``Needed``. A variance falls with the number of requests and counts grow with it, so the present
figures scaled by a factor say when a level is reached. It is a forecast, not a promise: evidence
has a spread, and half of all comparisons take longer. How long nearly all take is known for arms
that are equal: as long as it takes an estimate that chance has moved by NEARLY_ALL standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mvtrace.quality import events, mixture
from mvtrace.quality.events import EventCount
from mvtrace.quality.plan import Metric

_MOST: Final = 1e6
"""A decision that needs a million times the present requests is not forecast."""
_STEPS: Final = 60
NEARLY_ALL: Final = 2.326
"""Standard errors that 99 of 100 estimates stay within on the one side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Further requests that count for a metric, of both arms; None: not to be expected or known."""

    harm: int | None = None
    """Until harm is proven, if the difference stays."""
    noninferior: int | None = None
    """Until the canary is proven no worse than the margin, if the difference stays."""
    noninferior_if_equal: int | None = None
    """The same if both arms are truly equal."""
    noninferior_if_equal_at_most: int | None = None
    """The same for 99 of 100 comparisons of equal arms."""


UNKNOWN: Final = Needed()


def of_means(
    oriented: float,
    variances: tuple[float, float],
    metric: Metric,
    *,
    levels: tuple[float, float],
    requests: int,
) -> Needed:
    """Return what a metric of means needs; *oriented*: above 0 is good.

    *variances* and *levels* are those of harm and of non-inferiority; solves the mixture for the
    variance and scales the requests by it.
    """
    slack, tau = metric.slack, metric.scale

    def more(difference: float, variance: float, level: float, errors: float = 0.0) -> int | None:
        if not (math.isfinite(variance) and variance > 0):
            return None
        needed = mixture.variance_needed(difference, tau, level, errors=errors)
        return None if needed is None else _more(requests, variance / needed)

    return Needed(
        harm=more(-oriented, variances[0], levels[0]),
        noninferior=more(oriented + slack, variances[1], levels[1]),
        noninferior_if_equal=more(slack, variances[1], levels[1]),
        noninferior_if_equal_at_most=more(slack, variances[1], levels[1], NEARLY_ALL),
    )


def of_events(
    seen: Sequence[EventCount], metric: Metric, *, levels: tuple[float, float], requests: int
) -> Needed:
    """Return what a metric of events needs: the factor by which all counts have to grow."""
    scale = metric.scale

    def counts(factor: float) -> list[EventCount]:
        return [EventCount(one.share, *(factor * number for number in one[1:])) for one in seen]  # type: ignore[arg-type]

    def equal(factor: float, errors: float = 0.0) -> list[EventCount]:
        """As many events, each arm's its share of them; the canary's *errors* more than that."""
        totals = [(one.share, factor * (one.baseline + one.canary)) for one in seen]
        spread = sum(number * share * (1 - share) for share, number in totals)
        moved = errors / math.sqrt(spread) if spread > 0 else 0.0
        parts = [min(1.0, share + moved * share * (1 - share)) for share, _ in totals]
        return [
            EventCount(share, number * (1 - part), number * part)  # type: ignore[arg-type]
            for (share, number), part in zip(totals, parts, strict=True)
        ]

    def more(log_e: Callable[[float], float], level: float) -> int | None:
        factor = _factor(log_e, level)
        return None if factor is None else _more(requests, factor)

    margin = metric.margin
    return Needed(
        harm=more(lambda by: events.log_e_more(counts(by), scale=scale), levels[0]),
        noninferior=more(
            lambda by: events.log_e_fewer(counts(by), scale=scale, ratio=margin), levels[1]
        ),
        noninferior_if_equal=more(
            lambda by: events.log_e_fewer(equal(by), scale=scale, ratio=margin), levels[1]
        ),
        noninferior_if_equal_at_most=more(
            lambda by: events.log_e_fewer(equal(by, NEARLY_ALL), scale=scale, ratio=margin),
            levels[1],
        ),
    )


def _factor(log_e: Callable[[float], float], level: float) -> float | None:
    """Return by how much all counts have to grow until ln E is at *level*; at least 1."""
    if log_e(1.0) >= level:
        return 1.0
    if log_e(_MOST) < level:
        return None
    low, high = 0.0, math.log(_MOST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if log_e(math.exp(middle)) >= level:
            high = middle
        else:
            low = middle
    return math.exp(high)


def _more(requests: int, factor: float) -> int | None:
    if factor > _MOST:
        return None
    return max(0, math.ceil(requests * (factor - 1)))
