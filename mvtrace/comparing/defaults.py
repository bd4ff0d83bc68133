"""A plan made of what there is to compare: for the first look, and for ``mvtrace plan new``. Pure.

In: a roll-up, and what else is known of its metrics (thresholds of the baseline, which way is
better, the range of a score). Out: a plan with margins that are said, never tuned to the difference
seen: only the baseline's figures and whether a metric has values decide what is asked. Where it is
not known which way is better nothing is decided by it: it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mvtrace.quality.cells import Columns
from mvtrace.quality.plan import FIRST, MAX_NAME, REQUEST, Gates, Metric, Plan
from mvtrace.quality.sufficient import Arms, RolledUp

NAME: Final = "default"
GIVEN: Final = ":given"
BY_VOTE: Final = ">0.5"
"""Ends the source of votes that counts each by itself: for or not for."""
SCORE: Final = "score:"
"""Begins the metric of a score that is called as no score is."""
USER: Final = "undeclared:user/"
"""How the scorer of votes begins."""
MOST_SCORES: Final = 16
"""Scores that a plan of its own asks about, those with most values; others are asked by a file."""
MOST_METRICS: Final = 256
"""Metrics that are looked at when a plan is made."""
FEW_EVENTS: Final = 20
"""Fewer bad events of the baseline than that say nothing about a ratio: their rate is asked."""
RATE_MARGIN: Final = 0.03
ERROR_MARGIN: Final = 0.01
EVENT_RATIO: Final = 1.5
GIVEN_SCALE: Final = 0.05
_RATIOS: Final = {
    "log_latency_ms": ("guardrail", 1.1),
    "log_time_to_first_token_ms": ("guardrail", 1.15),
    "log_cost_usd": ("info", 1.15),
    "log_output_tokens": ("info", 1.25),
}
"""Role and margin of the metrics that are ratios; what costs more is for people to judge."""
_BAD: Final = ("error", "refusal", "tool_failure")
DERIVED: Final = frozenset(
    {
        *_RATIOS,
        *_BAD,
        "request",
        "latency_ms",
        "time_to_first_token_ms",
        "input_tokens",
        "output_tokens",
        "cost_usd",
    }
)
"""What every request has without anybody's doing."""
_MADE: Final = "<>^/"
"""What the name of a metric has that is made of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a comparison beside its sums."""

    unit: str = REQUEST
    """What is assigned to an arm."""
    has_shares: bool | None = None
    """Whether a share is planned for the canary; None: as it was."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By score: its least and largest value so far, votes left out."""
    better: Mapping[str, str] = field(default_factory=dict)
    """By score: ``higher`` or ``lower``, where its scorer was declared."""
    scorers: Mapping[str, str] = field(default_factory=dict)
    """By score: the one scorer that was declared; others' values of that name do not count."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """By source, such as ``latency_ms>812.5``: the baseline's share above it, as frozen."""
    counts_votes: bool = False
    """Whether each vote is to be counted by itself, as ``NAME>0.5``: then none beyond 0 and 1
    leaves a metric unjudged. The roll-up has that only from when the plan is registered."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The baseline's figures of a metric."""

    requests: float
    total: float
    squares: float

    @property
    def is_rate(self) -> bool:
        """Whether all values are 0 or 1 (the squares say so)."""
        return abs(self.total - self.squares) < 1e-9 * max(1.0, abs(self.total)) and (
            0 <= self.total <= self.requests
        )


def default_plan(found: RolledUp, arms: Arms, facts: Facts, *, name: str = NAME) -> Plan | None:
    """Return the plan of what *found* has of *arms*; None where it has nothing to decide by."""
    seen = _seen(found.columns(), arms)
    has_shares = facts.has_shares
    if has_shares is None:
        has_shares = any(0 < share < 1 for share in found.shares.values())
    metrics = [
        *_scores(found, facts, seen),
        *_bad(seen, has_shares=has_shares),
        *_ratios(seen),
        *_above(facts, has_shares=has_shares),
    ]
    if not any(metric.is_required for metric in metrics):
        return None
    return Plan(
        name=name,
        metrics=tuple(metrics),
        unit=facts.unit,
        gates=Gates(
            sample_ratio=has_shares,
            completeness=0.95 if _numbered(found, arms) else None,
        ),
    )


def _seen(columns: Mapping[tuple[str, str], Columns], arms: Arms) -> dict[str, _Seen]:
    """Return, by metric that the baseline has values of, its figures."""
    found = {}
    for (metric, arm), one in columns.items():
        if arm == arms.baseline and one.sums.size:
            requests, total, squares = (float(np.sum(one.sums[row])) for row in range(3))
            if requests:
                found[metric] = _Seen(requests, total, squares)
    return found


def _numbered(found: RolledUp, arms: Arms) -> bool:
    """Whether the baseline's producers numbered their records, so that a loss would be seen."""
    known = found.deliveries.get(arms.baseline)
    return known is not None and known.expected > 0


def _scores(found: RolledUp, facts: Facts, seen: Mapping[str, _Seen]) -> list[Metric]:
    names = [name for name in seen if is_score(name) and _fits(name)]
    names.sort(key=lambda name: (-seen[name].requests, name))
    metrics = []
    for name in names[:MOST_SCORES]:
        scorers = found.scorers.get(name, frozenset())
        is_vote = bool(scorers) and all(one.startswith(USER) for one in scorers)
        metrics.append(_score(name, seen[name], facts, is_vote=is_vote))
        if is_vote and metrics[-1].is_required and f"{name}{GIVEN}" in seen:
            metrics.append(
                Metric(name=f"{name}{GIVEN}", kind="rate", role="gate", margin=GIVEN_SCALE)
            )
    return metrics


def _score(name: str, seen: _Seen, facts: Facts, *, is_vote: bool) -> Metric:
    known = facts.better.get(name) or ("higher" if is_vote else None)
    direction, scorer = known or "higher", facts.scorers.get(name)
    source = f"{name}{BY_VOTE}" if is_vote and facts.counts_votes else None
    if seen.is_rate:
        return Metric(
            name=name, kind="rate", role="goal" if known else "info", direction=direction,
            margin=RATE_MARGIN, source=source, scorer=scorer,
        )  # fmt: skip
    # A margin is a part of the scale, and whoever may only vote must not be the one to say it.
    is_trusted = name in facts.ranges
    low, high = _range(facts.ranges.get(name))
    return Metric(
        name=name, kind="score", role="goal" if known and is_trusted else "info",
        direction=direction, margin=RATE_MARGIN * (high - low), low=low, high=high, scorer=scorer,
    )  # fmt: skip


def _range(said: tuple[float, float] | None) -> tuple[float, float]:
    """Return the usual scale that holds the values seen: 0 to 1, 0 to 5, 0 to 10, 0 to 100."""
    low, high = said or (0.0, 1.0)
    for end in (1.0, 5.0, 10.0, 100.0):
        if low >= 0 and high <= end:
            return 0.0, end
    return (min(low, 0.0), max(high, 0.0)) if low < high else (low - 1.0, high + 1.0)


def _bad(seen: Mapping[str, _Seen], *, has_shares: bool) -> list[Metric]:
    metrics = []
    for name in _BAD:
        if name not in seen or (name != "error" and seen[name].total == 0):
            continue
        counted = has_shares and seen[name].total >= FEW_EVENTS
        metrics.append(
            Metric(
                name=name, direction="lower", role="guardrail",
                kind="event" if counted else "rate",
                margin=EVENT_RATIO if counted else ERROR_MARGIN,
            )
        )  # fmt: skip
    return metrics


def _ratios(seen: Mapping[str, _Seen]) -> list[Metric]:
    return [
        Metric(name=name, kind="log", direction="lower", role=role, margin=margin)
        for name, (role, margin) in _RATIOS.items()
        if name in seen
    ]


def _above(facts: Facts, *, has_shares: bool) -> list[Metric]:
    """Return a guardrail for each frozen threshold: how often it is exceeded."""
    return [
        Metric(
            name=source, direction="lower", role="guardrail",
            kind="event" if has_shares else "rate",
            margin=EVENT_RATIO if has_shares else max(ERROR_MARGIN, share / 2),
        )
        for source, share in facts.thresholds.items()
    ]  # fmt: skip


def is_score(metric: str) -> bool:
    """Whether *metric* is what somebody scored, and not derived of a record or of other metrics."""
    if metric.startswith(SCORE):
        return True
    if metric in DERIVED or metric.endswith((GIVEN, FIRST)):
        return False
    return not set(metric) & set(_MADE)


def _fits(metric: str) -> bool:
    """Whether a plan can name *metric*, and how often it is given."""
    return metric.isprintable() and len(metric) + len(GIVEN) <= MAX_NAME


def sources_of(plan: Plan) -> Sequence[str]:
    """Return what *plan* needs of a roll-up, each once."""
    return sorted({plan.source_of(metric) for metric in plan.metrics})


def scorers_of(plan: Plan) -> dict[str, str]:
    """Return, by source, the scorer that alone counts, where *plan* names one."""
    return {plan.source_of(one): one.scorer for one in plan.metrics if one.scorer is not None}
