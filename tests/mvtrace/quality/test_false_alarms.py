"""A small part of the matrix of false alarms, and rules that must fail in the same harness."""

from __future__ import annotations

from dataclasses import replace

import pytest
from canaries import DISTRIBUTIONS, WORLDS, World, at_most, rate
from peeking import ALPHA, alarms, event_alarms

pytestmark = pytest.mark.statistics

RUNS = 400


@pytest.mark.parametrize(
    ("name", "kind", "share"),
    [
        ("binary .9", "iid", 0.05),
        ("five levels", "sticky", 0.1),
        ("lognormal logs", "ramp and drift", 0.5),
    ],
)
def test_equal_arms_seldom_look_worse(name: str, kind: str, share: float) -> None:
    """
    Looked at again and again, equal arms raise an alarm in at most alpha of all runs.
    """
    world = replace(World(quantile=DISTRIBUTIONS[name], runs=RUNS, looks=60), seed=11)
    found = alarms(WORLDS[kind](world, share))

    assert found.harm <= at_most(ALPHA, RUNS)


def test_naive_z_test_raises_false_alarms() -> None:
    """
    Negative control: in the same runs the z test at every look flags more than 30 %.
    """
    found = alarms(World(quantile=rate(0.9), runs=RUNS, looks=120, seed=12))

    assert found.z > 0.30
    assert found.harm <= at_most(ALPHA, RUNS)


def test_requests_of_users_are_not_independent() -> None:
    """
    Negative control: taking sticky users' requests one by one flags more than 15 %.
    """
    world = World(quantile=rate(0.9), runs=RUNS, looks=60, users=300, likeness=0.5, seed=13)
    found = alarms(world)

    assert found.pooled > 0.15
    assert found.harm <= at_most(ALPHA, RUNS)


def test_totals_over_a_ramp_are_wrong() -> None:
    """
    Negative control: totals of a ramp through a drifting day flag more than half of all runs.
    """
    world = World(
        quantile=rate(0.9), runs=RUNS, looks=72, step=300, ramp=(0.02, 0.1, 0.5), drift=0.4, seed=14
    )
    found = alarms(world)

    assert found.pooled > 0.50
    assert found.harm <= at_most(ALPHA, RUNS)


@pytest.mark.parametrize("good", [0.9, 1.0])
def test_canary_at_the_margin_is_seldom_promoted(good: float) -> None:
    """
    A canary that is worse by exactly the margin is promoted in at most alpha of all runs.
    """
    world = World(
        quantile=rate(min(good, 1 - 1e-12), good - 0.02), share=0.1, runs=RUNS, looks=100, seed=15
    )
    found = alarms(world, is_rate=True)

    assert found.promoted <= at_most(ALPHA, RUNS)


def test_worse_canary_is_found() -> None:
    """
    At 10 % a drop of five points is found by 12,000 requests in at least 90 % of runs.
    """
    found = alarms(
        World(quantile=rate(0.9, 0.85), share=0.1, runs=RUNS, looks=60, step=200, seed=16)
    )

    assert found.detected_by(12_000) >= 0.9


@pytest.mark.parametrize("kind", ["iid", "sticky", "ramp and drift"])
def test_event_test_holds_its_level(kind: str) -> None:
    """
    Bad events of equal arms, the first of each user where users are sticky, seldom look worse.
    """
    world = World(quantile=rate(0.98), runs=RUNS, looks=60, seed=17)

    assert event_alarms(WORLDS[kind](world, 0.1)) <= at_most(ALPHA, RUNS)
