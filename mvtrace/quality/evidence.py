"""The evidence on one metric before it is judged: what is shown, and two e-values. Pure.

In: a plan, a metric and its sums. Out: ``Seen``. Differences are the canary's value less the
baseline's, as they are measured; the sign of what is better only enters the evidence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mvtrace.quality import events, final_look, forecast, mixture
from mvtrace.quality.estimators import Estimate, estimate, variance_of_rate_at, variance_unseen
from mvtrace.quality.plan import FIRST, Metric, Plan
from mvtrace.quality.sources import made_of
from mvtrace.quality.sufficient import MetricSums, known


@dataclass(frozen=True, slots=True)
class Seen:
    """The numbers of a metric before it is judged."""

    values: Mapping[str, Any]
    log_e_harm: float | None = None
    log_e_noninferior: float | None = None
    settled: tuple[float, float] | None = None
    """Both, of what no more is awaited of; None: as they are."""
    final: tuple[float, float] | None = None
    needed: Callable[[tuple[float, float]], forecast.Needed] | None = None
    warnings: tuple[str, ...] = ()


def seen_of(plan: Plan, metric: Metric, sums: MetricSums) -> Seen:
    """Return what *sums* say of *metric*: no evidence where some of them cannot be its values'."""
    seen = (_of_events if metric.kind == "event" else _of_means)(plan, metric, sums)
    if sums.beyond:
        return Seen(seen.values, warnings=(beyond_words(plan, metric, sums),))
    return seen


def beyond_words(plan: Plan, metric: Metric, sums: MetricSums) -> str:
    """Return why nothing is judged by *metric*, and what to do about it."""
    what = "values other than 0 and 1"
    if metric.kind != "event" and metric.limits is not None:
        low, high = metric.limits
        what = f"values beyond its range {low:g} to {high:g}"
    source = plan.source_of(metric).removesuffix(FIRST)
    advice = "a plan with the range that they have judges them"
    if metric.kind != "score" and made_of(source) is None:
        advice = f"a plan with the source '{source}>0.5' counts each value by itself"
    return f"{what} in {sums.beyond} of {sums.buckets} buckets; {advice}"


def settled_harm(metric: Metric, sums: MetricSums) -> float:
    """Return ln E for harm by the events of hours of which no more is awaited.

    While one arm's records are late the others' events look like harm; of means both arms have to
    be there.
    """
    return events.log_e_more(sums.settled, scale=metric.scale)


def gate_evidence(plan: Plan, metric: Metric, sums: MetricSums) -> float | None:
    """Return ln E, two-sided, against a gate's metric being equal in both arms; None: not known."""
    found = None if sums.beyond else _estimate(plan, sums)
    if found is None:
        return None
    return float(mixture.log_e_two_sided(found.difference, found.variance, metric.scale))


def _estimate(plan: Plan, sums: MetricSums) -> Estimate | None:
    """Return the estimate of a metric of means, after its warm-up."""
    if sums.moments is None:
        return None
    found = known(sums.moments)
    few = sums.canary < plan.minimum_requests or found.clusters_canary < plan.minimum_clusters
    return None if few else estimate(found)


def _of_means(plan: Plan, metric: Metric, sums: MetricSums) -> Seen:
    if sums.moments is None:
        return Seen({})
    moments = known(sums.moments)
    found = estimate(moments)
    values = _shown(plan, metric, sums, found)
    if _estimate(plan, sums) is None:
        return Seen(values)
    variance = float(found.variance)
    careful = float(_careful_variance(metric, sums, variance))
    oriented, tau = metric.sign * float(found.difference), metric.scale

    def needed(levels: tuple[float, float]) -> forecast.Needed:
        return forecast.of_means(
            oriented, (variance, careful), metric, levels=levels,
            requests=sums.baseline + sums.canary,
        )  # fmt: skip

    freedom = moments.clusters_canary - 1
    return Seen(
        values,
        log_e_harm=float(mixture.log_e_one_sided(-oriented, variance, tau)),
        log_e_noninferior=float(mixture.log_e_one_sided(oriented + metric.slack, careful, tau)),
        final=(
            final_look.p_of_mean(-oriented, variance, freedom),
            final_look.p_of_mean(oriented + metric.slack, careful, freedom),
        ),
        needed=needed,
        warnings=() if variance > 0 else ("all values are one: nothing can be judged by them",),
    )


def _careful_variance(metric: Metric, sums: MetricSums, variance: float) -> Any:
    """Return the variance with which "no worse than the margin" is judged."""
    if sums.moments is None:
        return variance
    found = known(sums.moments)
    if metric.kind == "rate":
        return np.fmax(variance, variance_of_rate_at(found, metric.slack, metric.sign))
    if metric.width is not None:
        return np.fmax(variance, variance_unseen(found, metric.slack, metric.width))
    return variance


def _shown(plan: Plan, metric: Metric, sums: MetricSums, found: Estimate) -> dict[str, Any]:
    moments = known(sums.moments) if sums.moments is not None else None
    if moments is None or not math.isfinite(found.difference):
        return {}
    half = mixture.radius(found.variance, metric.scale, plan.alpha_revert)
    difference = float(found.difference)
    spread = moments.pooled / moments.weight
    bounded = math.isfinite(half)
    return {
        "clusters": (int(moments.clusters_baseline), int(moments.clusters_canary)),
        "baseline": float(found.baseline),
        "canary": float(found.baseline) + difference,
        "difference": difference,
        "interval": (difference - half, difference + half) if bounded else None,
        "error": math.sqrt(found.variance) if math.isfinite(found.variance) else None,
        "effect_size": difference / math.sqrt(spread) if spread > 0 else None,
        "design_effect": float(np.nan_to_num(found.design_effect, nan=1.0)),
    }


def _of_events(plan: Plan, metric: Metric, sums: MetricSums) -> Seen:
    if not sums.events or not any(one.baseline + one.canary for one in sums.events):
        return Seen({})
    below, above = (sum(one[arm] for one in sums.events) for arm in (1, 2))
    scale = metric.scale
    values = {
        "baseline": below / sums.baseline if sums.baseline else None,
        "canary": above / sums.canary if sums.canary else None,
        "difference": events.rate_ratio(sums.events),
        "interval": events.ratio_interval(sums.events, scale=scale, alpha=plan.alpha_revert),
    }

    def needed(levels: tuple[float, float]) -> forecast.Needed:
        return forecast.of_events(
            sums.events, metric, levels=levels,
            requests=sums.baseline + sums.canary,
        )  # fmt: skip

    return Seen(
        values,
        log_e_harm=events.log_e_more(sums.events, scale=scale),
        log_e_noninferior=events.log_e_fewer(sums.events, scale=scale, ratio=metric.margin),
        settled=(
            settled_harm(metric, sums),
            events.log_e_fewer(sums.settled, scale=scale, ratio=metric.margin),
        ),
        final=final_look.p_of_events(sums.settled, metric.margin),
        needed=needed,
    )
