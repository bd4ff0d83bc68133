"""A plan is a value with a digest, fixed before data."""

from __future__ import annotations

import math
from dataclasses import replace

import orjson
import pytest
from rollups import plan_of

from mvtrace.quality.plan import Gates, Horizon, Metric, Plan, PlanProblem, Policy


def full_plan() -> Plan:
    """A plan in which nothing is left to a default."""
    return Plan(
        name="assistant",
        unit="user",
        metrics=(
            Metric(name="success", kind="rate", margin=0.02, weight=2.0, maturity_hours=6),
            Metric(name="judge", kind="score", margin=0.05, low=1.0, high=5.0),
            Metric(name="latency", kind="log", direction="lower", role="guardrail", margin=1.1),
            Metric(name="error", kind="event", direction="lower", role="guardrail", margin=1.25),
            Metric(name="cost", kind="ratio", direction="lower", role="info", margin=0.1, tau=0.05),
            Metric(name="answered", kind="rate", role="gate", margin=0.02, source="feedback"),
        ),
        deadline_hours=168,
        gates=Gates(alpha=0.005, completeness=None),
        horizon=Horizon(requests=50_000, final=0.5),
        policy=Policy(small_regression="promote", expired="revert"),
    )


def test_plan_is_what_its_bytes_say() -> None:
    """
    A plan is equal to the one read from its canonical bytes, and has its digest.
    """
    plan = full_plan()

    again = Plan.from_dict(orjson.loads(plan.to_bytes()))

    assert again == plan
    assert again.digest == plan.digest


def test_digest_is_fixed() -> None:
    """
    The same plan has the same digest on every machine and in every version.
    """
    assert plan_of().digest == (
        "sha256:a49968bfe12e6ef5ab8803f94c64ed82eec39f979f19c6ebe498400760861b82"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"alpha_revert": 0.04},
        {"unit": "session"},
        {"gates": Gates(mixed=None)},
        {"horizon": Horizon(requests=1)},
        {"metrics": (Metric(name="success", kind="rate", margin=0.031),)},
    ],
)
def test_any_change_is_another_plan(change: dict[str, object]) -> None:
    """
    Whatever is changed, the digest is another one.
    """
    plan = plan_of()

    assert replace(plan, **change).digest != plan.digest


def test_margin_of_a_ratio_is_a_logarithm() -> None:
    """
    Differences of logarithms are judged by the logarithm of the margin, and mixed on its scale.
    """
    metric = Metric(name="latency", kind="log", direction="lower", margin=1.1)

    assert (metric.slack, metric.scale, metric.sign) == (math.log(1.1), math.log(1.1), -1)


def test_sticky_units_count_their_first_event() -> None:
    """
    Where a unit stays with its arm, an event metric reads what the roll-up counts once a unit.
    """
    error = Metric(name="error", kind="event", direction="lower", margin=1.25)
    named = replace(error, name="other", source="rare")

    sources = {
        unit: [plan_of(error, named, unit=unit).source_of(one) for one in (error, named)]
        for unit in ("request", "user")
    }

    assert sources == {"request": ["error", "rare"], "user": ["error:first", "rare"]}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": ""}, "name: it is 1 to 128 printable characters"),
        ({"kind": "median"}, "kind: 'median' is none of rate, score, mean, log, ratio, event"),
        ({"direction": "up"}, "direction: 'up' is none of higher, lower"),
        ({"role": "boss"}, "role: 'boss' is none of goal, guardrail, gate, info"),
        ({"margin": 0.0}, "margin: it is 0.0; of kind rate it is above 0"),
        ({"margin": math.nan}, "margin: nan is not finite"),
        ({"kind": "log", "margin": 0.1}, "margin: it is 0.1; of kind log it is above 1"),
        ({"weight": 0.0}, "weight: it is 0.0; it is above 0"),
        ({"tau": -1.0}, "tau: it is -1.0; it is above 0"),
        ({"maturity_hours": -1}, "maturity_hours: it is not below 0"),
        ({"kind": "score"}, "low: a score has a range, low and high"),
        ({"low": 0.0, "high": 1.0}, "low: only a score has a range; this is of kind rate"),
        ({"kind": "score", "low": 2.0, "high": 1.0}, "low: 2.0 is not below high, 1.0"),
        (
            {"kind": "event", "margin": 1.5},
            "direction: events are bad: fewer are better, so it is 'lower'",
        ),
        (
            {"kind": "ratio", "role": "gate"},
            "role: a gate compares means; this is of kind ratio",
        ),
    ],
)
def test_metric_that_cannot_be(fields: dict[str, object], problem: str) -> None:
    """
    A metric that means nothing is refused, with the field and its value.
    """
    with pytest.raises(PlanProblem) as refused:
        Metric(**{"name": "success", "kind": "rate", "margin": 0.02, **fields})  # type: ignore[arg-type]

    assert str(refused.value) == problem


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": "a\nb"}, "name: it is 1 to 128 printable characters"),
        ({"unit": ""}, "unit: it is 1 to 128 printable characters"),
        ({"alpha_revert": 1.0}, "alpha_revert: 1.0 is not between 0 and 1"),
        ({"alpha_promote": 0.0}, "alpha_promote: 0.0 is not between 0 and 1"),
        ({"global_share": 1.0}, "global_share: 1.0 is not 0 to 1"),
        ({"minimum_hours": -1}, "minimum_hours: it is not below 0"),
        ({"minimum_clusters": 1}, "minimum_requests: it and minimum_clusters are at least 2"),
        ({"deadline_hours": 24}, "deadline_hours: 24 is not after minimum_hours"),
    ],
)
def test_plan_that_cannot_be(fields: dict[str, object], problem: str) -> None:
    """
    A plan that means nothing is refused, with the field and its value.
    """
    with pytest.raises(PlanProblem) as refused:
        plan_of(**fields)

    assert str(refused.value) == problem


def test_plan_needs_metrics_that_decide() -> None:
    """
    Two metrics of one name, or none that could decide, make no plan.
    """
    success = Metric(name="success", kind="rate", margin=0.02)

    with pytest.raises(PlanProblem, match="metrics: 'success' is there twice"):
        plan_of(success, success)
    with pytest.raises(PlanProblem, match="metrics: no goal and no guardrail"):
        plan_of(replace(success, role="info"))


def test_gates_horizon_and_policy_are_checked() -> None:
    """
    Shares are between 0 and 1, a horizon has requests, a policy names decisions.
    """
    with pytest.raises(PlanProblem, match=r"gates.mixed: 2.0 is not 0 to 1"):
        Gates(mixed=2.0)
    with pytest.raises(PlanProblem, match=r"horizon.requests: it is above 0"):
        Horizon(requests=0)
    with pytest.raises(PlanProblem, match=r"policy.expired: 'promote' is none of hold, revert"):
        Policy(expired="promote")
