"""Rollouts in Prometheus' form: the verdict, the evidence and the level it has to reach.

In: what the watch saw. Out: families of gauges. Labels are the names of projects, services and
environments in which somebody with the scope ``govern`` started a canary, and of the metrics of its
plan: so many of each at most. E-values are shown as their natural logarithm, which has no limit
that a gauge could meet; 0 says that nothing was seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from mvtrace_collector.comparisons import Counts
from mvtrace_collector.rollout_watch import Rollouts, results_shown

DECISIONS: Final = ("promote", "hold", "revert")
QUESTIONS: Final = ("harm", "noninferior")
_PLACE: Final = ("project", "service", "environment")
_SHORT: Final = 12


def families(rollouts: Rollouts, counts: Counts) -> Iterator[Metric]:
    """Yield what is known of *rollouts*, and how much comparing there was."""
    yield GaugeMetricFamily("mvtrace_rollouts", "Canaries that run.", rollouts.running)
    yield GaugeMetricFamily(
        "mvtrace_rollouts_left_out", "Of them those without series.", rollouts.left_out
    )
    yield from _verdicts(rollouts)
    yield from _evidence(rollouts)
    outcomes = CounterMetricFamily(
        "mvtrace_comparisons", "Comparisons by what became of them.", labels=("outcome",)
    )
    for outcome in ("computed", "shared", "refused", "failed"):
        outcomes.add_metric((outcome,), getattr(counts, outcome))
    yield outcomes
    yield CounterMetricFamily("mvtrace_comparing_seconds", "Time they took.", counts.seconds)


def _verdicts(rollouts: Rollouts) -> Iterator[Metric]:
    decision = _gauge("decision", "1 at what the verdict is.", ("decision",))
    info = _gauge("info", "Always 1.", ("baseline", "canary", "reason"))
    failed = _gauge("failed_gates", "Gates by which the arms do not compare.")
    requests = _gauge("requests", "Requests that count.", ("arm",))
    looked = _gauge("looked_time_seconds", "Unix time of the look.")
    for place, told in rollouts.told.items():
        for one in DECISIONS:
            decision.add_metric((*place, one), float(told["decision"] == one))
        versions = (told["baseline"][:_SHORT], told["canary"][:_SHORT])
        info.add_metric((*place, *versions, told["reason"]), 1)
        failed.add_metric(place, sum(one["state"] == "fail" for one in told["gates"]))
        for arm, count in told["requests"].items():
            requests.add_metric((*place, arm), count)
        looked.add_metric(place, told["looked_s"])
    yield from (decision, info, failed, requests, looked)


def _evidence(rollouts: Rollouts) -> Iterator[Metric]:
    labels = ("metric", "question")
    evidence = _gauge("log_e", "Natural logarithm of the e-value.", labels)
    level = _gauge("log_e_level", "What it has to reach to prove it.", labels)
    for place, told in rollouts.told.items():
        for one in results_shown(told):
            for question in QUESTIONS:
                _add(evidence, (*place, one["name"], question), one, f"log_e_{question}")
                _add(level, (*place, one["name"], question), one, f"level_{question}")
    yield from (evidence, level)


def _gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mvtrace_rollout_{name}", text, labels=(*_PLACE, *labels))


def _add(
    family: GaugeMetricFamily, labels: tuple[str, ...], result: Mapping[str, Any], key: str
) -> None:
    """Add a value; what is not known has no series, rather than one that says 0."""
    if result[key] is not None:
        family.add_metric(labels, result[key])
