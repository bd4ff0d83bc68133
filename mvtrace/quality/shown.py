"""A metric's figures in words, on the scale people think in. Pure.

Means of logarithms are shown as what they are the logarithm of, differences of them and ratios of
events as factors; everything else as it is measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from mvtrace.quality.plan import Metric
from mvtrace.quality.results import MetricResult

UNKNOWN: Final = "unknown"
_LARGEST: Final = 700.0


def value_words(kind: str, value: float | None) -> str:
    """Return an arm's value; of kind log the geometric mean."""
    if value is None:
        return UNKNOWN
    return f"{_exp(value) if kind == 'log' else value:.4g}"


def difference_words(kind: str, difference: float | None) -> str:
    """Return what the canary has more or less: signed, or as a factor."""
    if difference is None:
        return UNKNOWN
    if kind == "event":
        return f"x{difference:.4g}"
    return f"x{_exp(difference):.4g}" if kind == "log" else f"{difference:+.4g}"


def interval_words(kind: str, interval: Sequence[float | None] | None) -> str:
    """Return an interval; an end that nothing bounds is said to be open."""
    if interval is None:
        return UNKNOWN
    low, high = (None if one is None else difference_words(kind, one) for one in interval)
    return f"{low or 'open'} to {high or 'open'}"


def margin_words(metric: Metric) -> str:
    """Return how much worse the canary may be."""
    if not metric.is_ratio_margin:
        return f"{-metric.sign * metric.margin:+.4g}"
    return f"x{metric.margin if metric.direction == 'lower' else 1 / metric.margin:.4g}"


def evidence_words(log_e: float | None, level: float | None, *, holds: bool = False) -> str:
    """Return how much of the evidence that is needed there is; *holds*: it was reached before."""
    if level is None:
        return ""
    if holds or (log_e is not None and log_e >= level):
        return "proven"
    if log_e is None:
        return UNKNOWN
    return f"{max(0.0, log_e) / level:.0%}"


def harm_words(result: MetricResult) -> str:
    """Return how far it is proven that the canary is worse; what was proven once stays so."""
    held = result.memory.harm_at is not None
    return evidence_words(result.log_e_harm, result.level_harm, holds=held)


def within_words(result: MetricResult) -> str:
    """Return how far it is proven that the canary is no worse than the margin."""
    held = result.memory.final_noninferior
    return evidence_words(result.log_e_noninferior, result.level_noninferior, holds=held)


def duration_words(hours: float) -> str:
    """Return a duration to about two digits."""
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"  # noqa: PLR2004 (two days)


def _exp(value: float) -> float:
    return math.exp(max(-_LARGEST, min(_LARGEST, value)))
