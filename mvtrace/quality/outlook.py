"""When a decision is to be expected: the metrics' needs put together. Pure.

In: a plan, the sufficient statistics and the metrics' results. Out: a ``Forecast`` in requests, and
in hours at the pace of the comparison so far.
"""

from __future__ import annotations

from mvtrace.quality.plan import Plan
from mvtrace.quality.results import MetricResult
from mvtrace.quality.sufficient import Sufficient
from mvtrace.quality.verdict import Forecast


def forecast_of(plan: Plan, found: Sufficient, seen: tuple[MetricResult, ...]) -> Forecast:
    """Return when *plan* is going to decide, if things stay as they are, or the arms are equal.

    To revert one metric is enough, to promote the slowest of those required is needed, and the
    plan's minimum of hours.
    """
    needed = [one.more_requests for one in seen if one.level_harm is not None]
    harms = [one.harm for one in needed if one.harm is not None]
    revert = min(harms) if harms else None
    promote = _slowest([one.noninferior for one in needed])
    equal = _slowest([one.noninferior_if_equal for one in needed])
    pace = found.requests / found.arms.hours if found.arms.hours > 0 else 0.0
    left = max(0.0, plan.minimum_hours - found.arms.hours)
    return Forecast(
        revert_requests=revert,
        revert_hours=_hours(revert, pace, 0.0),
        promote_requests=promote,
        promote_hours=_hours(promote, pace, left),
        promote_if_equal_requests=equal,
        promote_if_equal_hours=_hours(equal, pace, left),
    )


def _slowest(needed: list[int | None]) -> int | None:
    known = [one for one in needed if one is not None]
    return max(known) if known and len(known) == len(needed) else None


def _hours(requests: int | None, pace: float, least: float) -> float | None:
    if requests is None or (requests and not pace):
        return None
    return max(least, requests / pace if requests else 0.0)
