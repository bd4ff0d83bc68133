"""What is known of one metric at one look: evidence, interval, status. Pure.

In: the metric's sums, the levels its evidence has to reach, and what earlier looks saw. Out: a
``MetricResult``. Two one-sided questions are asked, never one two-sided: *harm* (null hypothesis:
the canary is not worse) and *non-inferiority* (null hypothesis: it is worse by the margin or more).
Differences are the canary's value less the baseline's, as they are measured; the sign of what is
better only enters the evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from mvtrace.quality import forecast, mixture
from mvtrace.quality.evidence import Seen, seen_of
from mvtrace.quality.plan import Metric, Plan
from mvtrace.quality.sufficient import MetricSums

HARM: Final = "harm"
NON_INFERIOR: Final = "non_inferior"
SMALL_REGRESSION: Final = "small_regression"
UNDECIDED: Final = "undecided"
TOO_FEW: Final = "too_few"
NO_DATA: Final = "no_data"
OUT_OF_RANGE: Final = "out_of_range"
"""Some of its values cannot be: nothing is judged by it, and nothing promoted without it."""
SHOWN: Final = "shown"
"""A metric of role info or gate: never harm, never needed."""
_LARGEST: Final = 1e300


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The ln E that each question has to reach, and the chances of error of a last look."""

    harm: float
    noninferior: float
    final_harm: float | None = None
    final_noninferior: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What earlier looks saw of a metric: it is not forgotten when the evidence recedes."""

    peak_harm: float = 0.0
    peak_noninferior: float = 0.0
    harm_at: int | None = None
    """Unix seconds of the look that first saw harm."""
    reverted: bool = False
    """Whether harm was seen at a look at which the canary was not known to be within the margin."""
    final_harm: bool = False
    final_noninferior: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricResult:
    """One metric at one look."""

    name: str
    kind: str
    role: str
    status: str
    baseline_requests: int
    canary_requests: int
    clusters: tuple[int, int] | None
    baseline: float | None
    canary: float | None
    difference: float | None
    """Of means; of kind log the logarithm of the ratio, of kind event the ratio itself."""
    interval: tuple[float | None, float | None] | None
    """The confidence sequence, two-sided at alpha_revert: it covers the truth at all looks."""
    error: float | None
    effect_size: float | None
    design_effect: float | None
    log_e_harm: float | None
    log_e_noninferior: float | None
    level_harm: float | None
    level_noninferior: float | None
    p_harm: float
    """Always valid: may be looked at at any time."""
    dropped: float
    """The share of its requests that do not count yet, or have nothing to be compared with."""
    more_requests: forecast.Needed
    memory: Memory
    warnings: tuple[str, ...] = ()


def evaluate(
    plan: Plan, metric: Metric, sums: MetricSums, levels: Levels, *, memory: Memory, look: Look
) -> MetricResult:
    """Return what is known of *metric* now."""
    seen = seen_of(plan, metric, sums)
    kept = told = memory
    if metric.is_required and seen.log_e_harm is not None and seen.log_e_noninferior is not None:
        now = (seen.log_e_harm, seen.log_e_noninferior)
        if look.is_sound:
            kept = _remembered(memory, seen.settled or now, seen.final, levels, look)
        told = _remembered(kept, now, None, levels, look)
    status = _status(metric, sums, seen, levels, told)
    if look.is_sound and status == HARM and kept.harm_at is not None:
        kept = _with(kept, reverted=True)
    judged = metric.is_required and seen.log_e_harm is not None
    counted = sums.baseline + sums.canary
    left_out = sums.immature + sums.unpaired
    shown: dict[str, Any] = {
        "clusters": None, "baseline": None, "canary": None, "difference": None, "interval": None,
        "error": None, "effect_size": None, "design_effect": None,
    }  # fmt: skip
    return MetricResult(
        name=metric.name,
        kind=metric.kind,
        role=metric.role,
        status=status,
        baseline_requests=sums.baseline,
        canary_requests=sums.canary,
        **{**shown, **seen.values},
        log_e_harm=_finite(seen.log_e_harm),
        log_e_noninferior=_finite(seen.log_e_noninferior),
        level_harm=levels.harm if metric.is_required else None,
        level_noninferior=levels.noninferior if metric.is_required else None,
        p_harm=mixture.always_valid_p(told.peak_harm),
        dropped=left_out / (left_out + counted) if left_out else 0.0,
        more_requests=seen.needed((levels.harm, levels.noninferior))
        if judged and seen.needed
        else forecast.UNKNOWN,
        memory=kept,
        warnings=seen.warnings,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """When this look is, and whether it is the last one of a declared horizon."""

    at: int
    is_final: bool = False
    is_sound: bool = True
    """Whether no gate fails: what is seen of arms that do not compare is not remembered."""


def _remembered(
    memory: Memory,
    log_e: tuple[float, float],
    final: tuple[float, float] | None,
    levels: Levels,
    look: Look,
) -> Memory:
    """Return *memory* with this look in it: *log_e* of harm and of non-inferiority."""
    final_harm, final_noninferior = memory.final_harm, memory.final_noninferior
    if look.is_final and final is not None:
        final_harm = _passes(final[0], levels.final_harm)
        final_noninferior = _passes(final[1], levels.final_noninferior)
    peak = max(memory.peak_harm, _capped(log_e[0]))
    crossed = peak >= levels.harm or final_harm
    return _with(
        memory,
        peak_harm=peak,
        peak_noninferior=max(memory.peak_noninferior, _capped(log_e[1])),
        harm_at=look.at if crossed and memory.harm_at is None else memory.harm_at,
        final_harm=final_harm,
        final_noninferior=final_noninferior,
    )


def _passes(p: float, alpha: float | None) -> bool:
    return alpha is not None and p <= alpha


def _status(metric: Metric, sums: MetricSums, seen: Seen, levels: Levels, memory: Memory) -> str:
    if memory.reverted:
        return HARM
    if not sums.baseline + sums.canary:
        return NO_DATA
    if not metric.is_required:
        return SHOWN
    if seen.log_e_harm is None or seen.log_e_noninferior is None:
        return OUT_OF_RANGE if sums.beyond else TOO_FEW
    is_harm = memory.harm_at is not None
    within = seen.log_e_noninferior >= levels.noninferior or memory.final_noninferior
    if is_harm:
        return SMALL_REGRESSION if within else HARM
    return NON_INFERIOR if within else UNDECIDED


def _with(memory: Memory, **changes: Any) -> Memory:
    values = {name: getattr(memory, name) for name in Memory.__dataclass_fields__}
    return Memory(**{**values, **changes})


def _capped(log_e: float) -> float:
    return min(log_e, _LARGEST)


def _finite(value: float | None) -> float | None:
    """Return *value*, None where it is no number that JSON knows."""
    return value if value is not None and math.isfinite(value) else None
