"""The whole matrix of false alarms, the boundary of the margin, and power.

``pytest -m statistics tests/mvtrace`` prints each figure (with ``-s``). MVTRACE_TEST_RUNS is how many
runs a cell has: 2000, unless it is set.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np
import pytest
from canaries import DISTRIBUTIONS, WORLDS, World, at_most, beta, failing, levels, looks, rate
from peeking import ALPHA, LEVEL, Alarms, Asked, alarms, alarms_together, event_alarms

from mvtrace.quality import events, mixture
from mvtrace.quality.estimators import estimate

pytestmark = pytest.mark.statistics

RUNS = int(os.environ.get("MVTRACE_TEST_RUNS", "2000"))
TAUS = {
    "binary .9": 0.02,
    "binary .995": 0.005,
    "Beta(4,1)": 0.02,
    "five levels": 0.02,
    "lognormal logs": math.log(1.1),
}
SHARES = (0.5, 0.1, 0.05)


def shown(what: str, found: Alarms) -> None:
    """Print the shares of one cell."""
    print(
        f"{what:42} harm {found.harm:6.2%}  promoted {found.promoted:6.2%}  "
        f"z {found.z:6.2%}  totals {found.pooled:6.2%}"
    )


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", WORLDS)
def test_false_alarms(kind: str, share: float) -> None:
    """
    In every cell equal arms look worse in at most alpha of all runs, at 200 looks.
    """
    asked = [
        (
            WORLDS[kind](
                World(quantile=one, runs=RUNS, seed=21, is_binary=name.startswith("binary")), share
            ),
            Asked(TAUS[name], TAUS[name]),
        )
        for name, one in DISTRIBUTIONS.items()
    ]
    found = dict(zip(DISTRIBUTIONS, alarms_together(asked), strict=True))
    for name, one in found.items():
        shown(f"{name}, {kind}, {share:.0%}", one)

    worst = max(found, key=lambda name: found[name].harm)
    assert found[worst].harm <= at_most(ALPHA, RUNS), worst


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("good", [0.98, 0.995])
@pytest.mark.parametrize("kind", WORLDS)
def test_false_alarms_of_events(kind: str, good: float, share: float) -> None:
    """
    The event test holds its level exactly: of requests, of first events of users, over a ramp.
    """
    found = event_alarms(WORLDS[kind](World(quantile=rate(good), runs=RUNS, seed=22), share))
    print(f"events {1 - good:.1%}, {kind}, {share:.0%}: {found:.2%}")

    assert found <= at_most(ALPHA, RUNS)


AT_THE_MARGIN = {
    "binary .9": (rate(0.9, 0.88), True),
    "binary .98": (rate(0.98, 0.96), True),
    "binary 1": (rate(1 - 1e-12, 0.98), True),
    "Beta(4,1)": (beta(lower=0.02), False),
    "a perfect score that rarely fails": (rate(1 - 1e-12, 0.98), False),
    "Beta(4,1) that rarely fails": (failing(0.025), False),
}


@pytest.mark.parametrize("share", SHARES)
def test_at_the_margin(share: float) -> None:
    """
    A canary that is worse by exactly the margin is promoted in at most alpha of all runs; a rule that
    believes a variance of 0 promotes one of rare failures in far more.
    """
    asked = [
        (
            World(quantile=one, share=share, runs=RUNS, seed=24),
            Asked(0.02, 0.02, is_rate=is_rate, width=1.0),
        )
        for one, is_rate in AT_THE_MARGIN.values()
    ]
    found = dict(zip(AT_THE_MARGIN, alarms_together(asked), strict=True))
    for name, one in found.items():
        shown(f"at the margin: {name}, {share:.0%}", one)

    worst = max(found, key=lambda name: found[name].promoted)
    assert found[worst].promoted <= at_most(ALPHA, RUNS), worst
    assert found["binary 1"].careless > 0.10


def test_power_at_ten_per_cent() -> None:
    """
    A five-point drop is found by 12k and a two-point one by 50k in 90 %, an equal canary promoted
    with a margin of .03 by 20k in 90 % of runs, within three standard errors of so many runs.
    """
    # As many buckets as the roll-up has: fewer make the design effect, which is at least 1, dearer.
    ten = World(quantile=rate(0.9), share=0.1, runs=RUNS, looks=100, buckets=256, seed=25)
    five = alarms(replace(ten, quantile=rate(0.9, 0.85), step=120))
    two = alarms(replace(ten, quantile=rate(0.9, 0.88), step=500))
    equal = alarms(replace(ten, step=200), tau=0.03, margin=0.03, is_rate=True)
    medians = [float(np.median(one)) for one in (five.harm_at, two.harm_at, equal.promoted_at)]
    by = [five.detected_by(12_000), two.detected_by(50_000), equal.promoted_by(20_000)]
    print("five points, two points, equal:", by, "medians", medians)

    assert min(by) >= 0.9 - 3 * math.sqrt(0.09 / RUNS)


@pytest.mark.parametrize("share", SHARES)
def test_a_million_requests(share: float) -> None:
    """
    Peeking to a million requests, at 400 looks, harm and the event test stay at alpha; z does not.
    """
    generator = np.random.default_rng(27)
    steps = np.diff(np.unique(np.geomspace(100, 1e6, 400).astype(int)), prepend=0)
    good, total = np.zeros((2, RUNS)), np.zeros((2, RUNS))
    flags = {name: np.zeros(RUNS, dtype=bool) for name in ("harm", "events", "z", "margin")}
    for step in steps:
        canary = generator.binomial(step, share, RUNS)
        sizes = np.stack([step - canary, canary])
        total += sizes
        good += generator.binomial(sizes, 0.9)
        rates = good / np.maximum(total, 1)
        pooled = good.sum(0) / total.sum(0)
        both = (1 / np.maximum(total, 1)).sum(0)
        difference, variance = rates[1] - rates[0], pooled * (1 - pooled) * both
        welch = (rates * (1 - rates) / np.maximum(total, 1)).sum(0)
        ready = total[1] >= 30
        failures = total - good
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.nan_to_num(np.abs(difference) / np.sqrt(welch), posinf=0)
        flags["z"] |= (z > 1.96) & ready
        larger = np.maximum(variance, welch)
        flags["harm"] |= (mixture.log_e_one_sided(-difference, larger, 0.02) >= LEVEL) & ready
        flags["events"] |= (
            events.log_e_paths({share: (failures[0], failures[1])}, scale=0.3) >= LEVEL
        )
    found = {name: float(one.mean()) for name, one in flags.items() if name != "margin"}
    print(share, found)

    assert max(found["harm"], found["events"]) <= at_most(ALPHA, RUNS)
    assert found["z"] > 0.40


def test_users_of_a_few_buckets_keep_their_level() -> None:
    """
    Five levels at 10 % with very unequal users: the variance of buckets holds the level there too.
    """
    world = World(
        quantile=levels(), share=0.1, runs=RUNS, users=500, likeness=0.3, tail=1.5, seed=29
    )
    found = alarms(world)
    shown("500 users, correlation .3, heavy tail, 10%", found)

    assert found.harm <= at_most(ALPHA, RUNS)


def test_looks_are_reproducible() -> None:
    """
    The same seed gives the same runs, so that a failure can be looked at again.
    """
    world = World(quantile=rate(0.9), runs=20, looks=3, seed=30)

    first, second = ([estimate(seen.moments).difference for seen in looks(world)] for _ in range(2))

    assert np.array_equal(np.stack(first), np.stack(second))
