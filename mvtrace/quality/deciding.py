"""Promote, hold or revert: the rules, in their order. Pure: plan and statistics in, Verdict out.

1. A gate failed: hold, whatever the metrics say; their evidence is shown, and not remembered: once
   the arms compare again it is judged by what there is then.
2. Harm is proven, now or at an earlier look: revert. All metrics together have one chance of error
   (weighted Bonferroni on e-values; a share of it watches their average).
3. Every goal and guardrail is, now, proven no worse than its margin, long enough has passed, and no
   gate is unknown: promote. That needs no correction: each of the proofs is necessary, so a
   promotion that one metric forbids has at most that metric's chance (intersection-union, Berger
   1982).
4. Harm is proven, but less than the margin: as the policy says.
5. The deadline has passed: hold, or as the policy says.
6. Else hold, with the reason and a forecast. A metric without data is never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mvtrace.quality import families, gates, results
from mvtrace.quality.evidence import settled_harm
from mvtrace.quality.outlook import forecast_of
from mvtrace.quality.plan import Plan
from mvtrace.quality.results import Levels, Look, Memory, MetricResult
from mvtrace.quality.sufficient import Arms, RolledUp, Sufficient, reduce
from mvtrace.quality.verdict import ASYMPTOTIC, EXACT, HOLD, PROMOTE, REVERT, Past, Verdict
from mvtrace.quality.wording import sentence_of

_LARGEST: Final = 1e300


def compare(plan: Plan, found: RolledUp, arms: Arms, *, before: Verdict | None = None) -> Verdict:
    """Return the verdict on a roll-up; see decide."""
    return decide(plan, reduce(plan, found, arms), before=before)


def decide(plan: Plan, found: Sufficient, *, before: Verdict | None = None) -> Verdict:
    """Return the verdict on *found*; *before* is the verdict of the look before this one.

    Raises:
        ValueError: *before* is of another plan, of other arms, or of later data.
    """
    if before is not None:
        _check_same(plan, found, before)
    past = Past(peaks={}) if before is None else before.past
    checked = gates.evaluate(plan, found, peaks=past.peaks)
    is_sound = all(one.state != gates.FAIL for one in checked)
    due = is_sound and found.reaches(plan.horizon)
    look = Look(at=found.arms.until, is_final=due and past.final_at is None, is_sound=is_sound)
    seen = _results(plan, found, look, before)
    log_e_global, settled_global = _together(plan, found, seen)
    level_global = _level_global(plan)
    peak_global = max(past.peak_global, settled_global if is_sound else 0.0)
    told_global = max(peak_global, log_e_global)
    ruling = _rule(
        plan, checked, seen, found,
        is_alarm=level_global is not None and told_global >= level_global,
    )  # fmt: skip
    outlook = forecast_of(plan, found, seen)
    ruling = _underpowered(plan, ruling, found.arms.hours, outlook.promote_if_equal_hours)
    kept = Past(
        looks=past.looks + 1,
        peaks={
            **past.peaks,
            **{one.name: one.peak for one in checked if one.peak is not None},
        },
        peak_global=peak_global,
        final_at=look.at if look.is_final else past.final_at,
    )
    return Verdict(
        decision=ruling.decision,
        reason=ruling.reason,
        metrics=ruling.metrics,
        guarantee=_guarantee(plan, ruling, checked),
        sentence=sentence_of(ruling.decision, ruling.reason, ruling.metrics, checked, seen),
        gates=checked,
        results=seen,
        log_e_global=log_e_global,
        level_global=level_global,
        forecast=outlook,
        warnings=gates.warnings_of(found),
        past=kept,
        plan=plan,
        sufficient=found,
    )


def levels_of(plan: Plan) -> dict[str, Levels]:
    """Return, by required metric, the evidence it has to reach."""
    final = 0.0 if plan.horizon is None else plan.horizon.final
    alpha = plan.alpha_revert * (1 - final) * (1 - _global_share(plan))
    weights = [metric.weight for metric in plan.required]
    harm = families.levels(weights, alpha=alpha)
    promote = -math.log(plan.alpha_promote * (1 - final))
    return {
        metric.name: Levels(
            harm=level,
            noninferior=promote,
            final_harm=plan.alpha_revert * final * metric.weight / sum(weights) if final else None,
            final_noninferior=plan.alpha_promote * final if final else None,
        )
        for metric, level in zip(plan.required, harm, strict=True)
    }


@dataclass(frozen=True, slots=True)
class _Ruling:
    decision: str
    reason: str
    metrics: tuple[str, ...]


def _results(
    plan: Plan, found: Sufficient, look: Look, before: Verdict | None
) -> tuple[MetricResult, ...]:
    levels = levels_of(plan)
    unasked = Levels(harm=math.inf, noninferior=math.inf)
    memories = {} if before is None else {one.name: one.memory for one in before.results}
    return tuple(
        results.evaluate(
            plan, metric, sums, levels.get(metric.name, unasked),
            memory=memories.get(metric.name, Memory()), look=look,
        )
        for metric, sums in zip(plan.metrics, found.metrics, strict=True)
    )  # fmt: skip


def _together(plan: Plan, found: Sufficient, seen: tuple[MetricResult, ...]) -> tuple[float, float]:
    """Return ln of the average e-value of all required metrics: now, and of what is settled."""
    if not _global_share(plan):
        return 0.0, 0.0
    now: list[float] = []
    settled: list[float] = []
    for metric, sums, one in zip(plan.metrics, found.metrics, seen, strict=True):
        if metric.is_required:
            # What has no evidence yet has seen nothing: an e-value of 1.
            now.append(0.0 if one.log_e_harm is None else one.log_e_harm)
            settled.append(settled_harm(metric, sums) if metric.kind == "event" else now[-1])
    weights = [metric.weight for metric in plan.required]
    both = [min(families.average(log_e, weights), _LARGEST) for log_e in (now, settled)]
    return both[0], both[1]


def _level_global(plan: Plan) -> float | None:
    """Return the evidence that the alarm of all metrics together has to reach."""
    share = _global_share(plan)
    final = 0.0 if plan.horizon is None else plan.horizon.final
    return -math.log(plan.alpha_revert * (1 - final) * share) if share else None


def _global_share(plan: Plan) -> float:
    return plan.global_share if len(plan.required) > 1 else 0.0


def _rule(
    plan: Plan,
    checked: tuple[gates.Gate, ...],
    seen: tuple[MetricResult, ...],
    found: Sufficient,
    *,
    is_alarm: bool,
) -> _Ruling:
    """Apply the rules of the module, in their order."""
    by_status = _by_status([one for one in seen if one.level_harm is not None])
    failed = tuple(one.name for one in checked if one.state == gates.FAIL)
    harmed, small = by_status(results.HARM), by_status(results.SMALL_REGRESSION)
    good = by_status(results.NON_INFERIOR)
    required = tuple(metric.name for metric in plan.required)
    all_within = set(good) | set(small) == set(required)
    if failed:
        return _Ruling(HOLD, "invalid_gate", failed)
    if harmed:
        return _Ruling(REVERT, "harm", harmed)
    if is_alarm:
        return (
            _Ruling(HOLD, "conflict", required) if all_within else _Ruling(REVERT, "harm", required)
        )
    if all_within:
        return _allowed(plan, checked, required, small, found.hours)
    if small and plan.policy.small_regression == REVERT:
        return _Ruling(REVERT, "small_regression", small)
    empty = by_status(results.TOO_FEW, results.NO_DATA, results.OUT_OF_RANGE)
    return _undecided(plan, required, good, empty, found.arms.hours)


def _allowed(
    plan: Plan,
    checked: tuple[gates.Gate, ...],
    required: tuple[str, ...],
    small: tuple[str, ...],
    hours: float,
) -> _Ruling:
    """Rule where every metric is within its margin: some perhaps proven worse, by less than it."""
    unknown = tuple(one.name for one in checked if one.state == gates.UNKNOWN)
    if small and plan.policy.small_regression != PROMOTE:
        return _Ruling(plan.policy.small_regression, "small_regression", small)
    if unknown:
        return _Ruling(HOLD, "invalid_gate", unknown)
    if hours < plan.minimum_hours:
        return _Ruling(HOLD, "too_early", required)
    if small:
        return _Ruling(PROMOTE, "small_regression", small)
    return _Ruling(PROMOTE, "all_noninferior", required)


def _undecided(
    plan: Plan,
    required: tuple[str, ...],
    good: tuple[str, ...],
    empty: tuple[str, ...],
    hours: float,
) -> _Ruling:
    waiting = tuple(name for name in required if name not in good)
    if plan.deadline_hours is not None and hours >= plan.deadline_hours:
        return _Ruling(plan.policy.expired, "expired", waiting)
    if empty:
        return _Ruling(HOLD, "too_early", empty)
    return _Ruling(HOLD, "undecided", waiting)


def _underpowered(plan: Plan, ruling: _Ruling, hours: float, needed: float | None) -> _Ruling:
    """Say so if not even two equal arms would be told apart from worse ones by the deadline."""
    if ruling.reason != "undecided" or plan.deadline_hours is None:
        return ruling
    if needed is not None and hours + needed <= plan.deadline_hours:
        return ruling
    return _Ruling(HOLD, "underpowered", ruling.metrics)


def _by_status(seen: list[MetricResult]) -> Callable[..., tuple[str, ...]]:
    def chosen(*statuses: str) -> tuple[str, ...]:
        return tuple(one.name for one in seen if one.status in statuses)

    return chosen


def _guarantee(plan: Plan, ruling: _Ruling, checked: tuple[gates.Gate, ...]) -> str:
    """Return exact only if all that the ruling rests on is."""
    events = {metric.name for metric in plan.metrics if metric.kind == "event"}
    exact = events | {one.name for one in checked if one.is_exact}
    return EXACT if all(name in exact for name in ruling.metrics) else ASYMPTOTIC


def _check_same(plan: Plan, found: Sufficient, before: Verdict) -> None:
    if before.plan.digest != plan.digest:
        raise ValueError(f"the look before followed plan {before.plan.digest}, not {plan.digest}")
    then, now = before.sufficient.arms, found.arms
    if (then.baseline, then.canary) != (now.baseline, now.canary):
        was = f"{then.baseline} and {then.canary}"
        raise ValueError(f"the look before compared {was}, not {now.baseline} and {now.canary}")
    if then.until > now.until:
        raise ValueError(f"the look before reached {then.until}, later than {now.until}")
