"""Rules that are wrong, in the harness that finds ours right: each has to fail in it.

A harness in which nothing fails proves nothing. Beside each control stands our own rule on the same
runs, and what a control has to exceed is far below what it was measured at.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np
import pytest
from canaries import World, at_most, failures, rate
from peeking import ALPHA, Alarms, alarms, event_alarms

from mvtrace.quality import sample_ratio

pytestmark = pytest.mark.statistics

RUNS = int(os.environ.get("MVTRACE_TEST_RUNS", "2000"))
SHARES = (0.5, 0.1, 0.05)
LEVEL_OF_GATES = -math.log(0.01)


def sound(found: Alarms) -> None:
    """Our own rule holds its level where the control does not."""
    assert found.harm <= at_most(ALPHA, RUNS)


@pytest.mark.parametrize("share", SHARES)
def test_z_at_every_look(share: float) -> None:
    """
    The z test at every look calls more than 30 % of equal canaries different.
    """
    found = alarms(World(quantile=rate(0.9), share=share, runs=RUNS, seed=23, is_binary=True))
    print(f"z at every look, {share:.0%}: {found.z:.2%}")

    assert found.z > 0.30
    sound(found)


@pytest.mark.parametrize("share", SHARES)
def test_requests_of_users_one_by_one(share: float) -> None:
    """
    Sticky users' requests, each taken for itself, flag more than 15 %.
    """
    found = alarms(
        World(
            quantile=rate(0.9), share=share, runs=RUNS, users=1000, likeness=0.5, tail=1.5,
            seed=23, is_binary=True,
        )
    )  # fmt: skip
    print(f"requests of users, {share:.0%}: {found.pooled:.2%}")

    assert found.pooled > 0.15
    sound(found)


@pytest.mark.parametrize("share", SHARES)
def test_totals_of_a_ramp(share: float) -> None:
    """
    Totals over a ramp through a drifting day flag more than half of all runs.
    """
    world = World(
        quantile=rate(0.9), share=share, runs=RUNS, looks=72, step=300, ramp=(0.02, 0.1, 0.5),
        drift=0.4, seed=23, is_binary=True,
    )  # fmt: skip
    found = alarms(world)
    print(f"totals of a ramp, {share:.0%}: {found.pooled:.2%}")

    assert found.pooled > 0.50
    sound(found)


def test_variance_without_its_floor() -> None:
    """
    At 5 % the robust variance alone flags more than 8 % after thirty requests, though it is right at
    50 %: the floor of the pooled one is what holds the level.
    """
    world = World(quantile=rate(0.98), share=0.05, runs=RUNS, seed=31, is_binary=True)
    found = alarms(world)
    print(f"without the floor, 5 %: {found.unfloored:.2%}; with it {found.harm:.2%}")

    assert found.unfloored > 0.08 + 3 * math.sqrt(0.08 * 0.92 / RUNS)
    sound(found)


def test_all_events_of_users() -> None:
    """
    Every event of sticky users, instead of the first of each, breaks the exact test.
    """
    world = World(
        quantile=rate(0.9), share=0.1, runs=RUNS, users=300, likeness=0.6, tail=1.5, seed=32
    )
    every, first = event_alarms(world, counts_all=True), event_alarms(world)
    print(f"all events of users {every:.2%}, first ones {first:.2%}")

    assert every > 2 * at_most(ALPHA, RUNS)
    assert first <= at_most(ALPHA, RUNS)


def test_planned_share_of_another_phase() -> None:
    """
    Events of a ramp counted under its last share flag less than nothing; counted under its first they
    flag nearly all: the share has to be that of the hour.
    """
    world = World(
        quantile=rate(0.9), runs=RUNS // 4, looks=72, step=300, ramp=(0.02, 0.1, 0.5), seed=33
    )
    flagged = np.zeros(world.runs, dtype=bool)
    below, above = np.zeros(world.runs), np.zeros(world.runs)
    for _, baseline, canary in failures(world):
        below, above = below + baseline, above + canary
        log_e = sample_ratio.log_e_paths(0.02, below, above)
        flagged |= log_e >= LEVEL_OF_GATES

    assert flagged.mean() > 0.95
    assert event_alarms(world) <= at_most(ALPHA, world.runs)


def test_requests_of_users_as_units() -> None:
    """
    The sample-ratio test of sticky users' requests cries wolf in more than 30 %; of the users
    themselves in at most its 1 %.
    """
    generator = np.random.default_rng(34)
    users, looks = 2000, 100
    activity = np.exp(1.5 * generator.standard_normal(users))
    canary = generator.random((RUNS, users)) < 0.1
    requests, units = np.zeros((2, RUNS)), np.zeros((2, RUNS))
    seen = np.zeros(users, dtype=bool)
    flags = {name: np.zeros(RUNS, dtype=bool) for name in ("requests", "units")}
    for _ in range(looks):
        asked = generator.multinomial(200, activity / activity.sum())
        new = (asked > 0) & ~seen
        seen |= new
        above, first = canary @ asked, canary[:, new].sum(axis=1)
        requests += np.stack([200 - above, above])
        units += np.stack([new.sum() - first, first])
        for name, counts in (("requests", requests), ("units", units)):
            flags[name] |= sample_ratio.log_e_paths(0.1, *counts) >= LEVEL_OF_GATES
    found = {name: float(one.mean()) for name, one in flags.items()}
    print(f"sample ratio of requests {found['requests']:.2%}, of users {found['units']:.2%}")

    assert found["requests"] > 0.30
    assert found["units"] <= at_most(0.01, RUNS)


def test_another_seed_is_other_runs() -> None:
    """
    The runs are random: another seed gives other ones, with the same verdict on both rules.
    """
    first, second = (
        alarms(World(quantile=rate(0.9), runs=RUNS // 4, looks=100, seed=seed, is_binary=True))
        for seed in (35, 36)
    )

    assert not np.array_equal(first.harm_at, second.harm_at)
    assert min(first.z, second.z) > 0.25


def test_a_canary_that_is_worse_fails_the_test_of_equal_ones() -> None:
    """
    The matrix of false alarms can fail: of a canary worse by three points its assertion does not hold.
    """
    world = World(
        quantile=rate(0.9, 0.87), share=0.5, runs=RUNS // 4, looks=100, seed=37, is_binary=True
    )

    assert alarms(world).harm > at_most(ALPHA, world.runs)
    assert alarms(replace(world, quantile=rate(0.9))).harm <= at_most(ALPHA, world.runs)
