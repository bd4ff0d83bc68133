"""When a decision is to be expected: the metrics' needs put together. Pure.

In: a plan, the sufficient statistics and the metrics' results. Out: a ``Forecast`` in requests, and
in hours at the pace of the comparison so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from mvtrace.quality.forecast import Needed
from mvtrace.quality.plan import Plan
from mvtrace.quality.results import MetricResult
from mvtrace.quality.sufficient import Sufficient
from mvtrace.quality.verdict import Forecast


def forecast_of(plan: Plan, found: Sufficient, seen: tuple[MetricResult, ...]) -> Forecast:
    """Return when *plan* is going to decide, if things stay as they are, or the arms are equal.

    To revert one metric is enough, to promote the slowest of those required is needed, and the
    plan's minimum of hours.
    """

    def needed(which: Callable[[Needed], int | None]) -> list[int | None]:
        """Return what each required metric needs, in requests of any kind."""
        required = [one for one in seen if one.level_harm is not None]
        return [_of_all(which(one.more_requests), one, found.requests) for one in required]

    harms = [one for one in needed(lambda one: one.harm) if one is not None]
    revert = min(harms) if harms else None
    promote = _slowest(needed(lambda one: one.noninferior))
    equal = _slowest(needed(lambda one: one.noninferior_if_equal))
    at_most = _slowest(needed(lambda one: one.noninferior_if_equal_at_most))
    pace = found.requests / found.arms.hours if found.arms.hours > 0 else 0.0
    left = max(0.0, plan.minimum_hours - found.hours)
    return Forecast(
        revert_requests=revert,
        revert_hours=_hours(revert, pace, 0.0),
        promote_requests=promote,
        promote_hours=_hours(promote, pace, left),
        promote_if_equal_requests=equal,
        promote_if_equal_hours=_hours(equal, pace, left),
        promote_if_equal_at_most_requests=at_most,
        promote_if_equal_at_most_hours=_hours(at_most, pace, left),
    )


def _of_all(needed: int | None, metric: MetricResult, requests: int) -> int | None:
    """Return *needed* as requests of any kind: not all of them have a value of *metric*."""
    counted = metric.baseline_requests + metric.canary_requests
    return needed if not needed or not counted else math.ceil(needed * requests / counted)


def _slowest(needed: list[int | None]) -> int | None:
    known = [one for one in needed if one is not None]
    return max(known) if known and len(known) == len(needed) else None


def _hours(requests: int | None, pace: float, least: float) -> float | None:
    if requests is None or (requests and not pace):
        return None
    return max(least, requests / pace if requests else 0.0)
