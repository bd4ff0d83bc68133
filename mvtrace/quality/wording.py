"""A verdict in one sentence, for a person: what holds, with the figure that says so. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mvtrace.quality.gates import Gate
from mvtrace.quality.results import OUT_OF_RANGE, MetricResult

_MOST: Final = 3
_SENTENCES: Final = {
    ("promote", "all_noninferior"): "Promote: {names} proven no worse than the margin allows.",
    ("promote", "small_regression"): "Promote: {names} proven worse, but by less than the margin, "
    "which the plan accepts.",
    ("hold", "small_regression"): "Hold: {names} proven worse, though by less than the margin.",
    ("revert", "small_regression"): "Revert: {names} proven worse, though by less than the margin.",
    ("revert", "harm"): "Revert: {names} proven worse.",
    ("hold", "undecided"): "Hold: {names} not decided yet.",
    (
        "hold",
        "underpowered",
    ): "Hold: {names} not to be decided before the deadline, not even if the arms are equal.",
    ("hold", "too_early"): "Hold: {names} not to be judged yet.",
    ("hold", "expired"): "Hold: the deadline has passed; {names} never decided.",
    ("revert", "expired"): "Revert: the deadline has passed; {names} never decided.",
    ("hold", "conflict"): "Hold: {names} each within the margin, yet together proven worse.",
    ("hold", "invalid_gate"): "Hold: the arms do not compare.",
}


def sentence_of(
    decision: str,
    reason: str,
    metrics: Sequence[str],
    gates: Sequence[Gate],
    results: Sequence[MetricResult],
) -> str:
    """Return the sentence, with the figures of the first metric or gate that is the reason."""
    said = _SENTENCES[decision, reason].format(names=_names(metrics))
    if reason == "invalid_gate":
        states = {gate.name: gate for gate in gates}
        first = states[metrics[0]]
        return f"{said} {first.name} ({first.state}): {first.said}."
    shown = {one.name: one for one in results}
    figures = _figures(shown[metrics[0]]) if metrics else ""
    return f"{said} {figures}".rstrip()


def _names(metrics: Sequence[str]) -> str:
    shown = list(metrics[:_MOST])
    if len(metrics) > _MOST:
        shown.append(f"{len(metrics) - _MOST} more")
    if len(shown) == 1:
        return f"{shown[0]} is"
    return f"{', '.join(shown[:-1])} and {shown[-1]} are"


def _figures(result: MetricResult) -> str:
    if result.status == OUT_OF_RANGE:
        return f"{result.name}: {'; '.join(result.warnings)}."
    if result.difference is None:
        return f"{result.name} has {result.canary_requests} requests of the canary that count."
    what = "ratio of rates" if result.kind == "event" else "difference"
    interval = ""
    if result.interval is not None:
        low, high = (f"{one:+.4g}" if one is not None else "unbounded" for one in result.interval)
        interval = f", interval {low} to {high}"
    return f"{result.name}: {what} {result.difference:+.4g}{interval}."
