"""The whole matrix of false alarms, the boundary of the margin, families of metrics, and power.

``pytest -m statistics tests/mvtrace/quality`` prints each figure (with ``-s``). MVTRACE_TEST_RUNS is
how many runs a cell has: 2000, unless it is set.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np
import pytest
from canaries import DISTRIBUTIONS, WORLDS, World, at_most, beta, failing, levels, looks, rate
from peeking import ALPHA, LEVEL, Alarms, alarms, event_alarms

from mvtrace.quality import events, families, mixture, sample_ratio
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
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_false_alarms(name: str, kind: str, share: float) -> None:
    """
    In every cell equal arms look worse in at most alpha of all runs, at 200 looks.
    """
    world = WORLDS[kind](World(quantile=DISTRIBUTIONS[name], runs=RUNS, seed=21), share)
    found = alarms(world, tau=TAUS[name], margin=TAUS[name])
    shown(f"{name}, {kind}, {share:.0%}", found)

    assert found.harm <= at_most(ALPHA, RUNS)


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


@pytest.mark.parametrize("share", SHARES)
def test_naive_rules_fail_here(share: float) -> None:
    """
    Negative controls: z at every look over 30 %, requests of users over 15 %, totals of a ramp over 50 %.
    """
    base = World(quantile=rate(0.9), share=share, runs=RUNS, seed=23)
    ramp = replace(base, looks=72, step=300, ramp=(0.02, 0.1, 0.5), drift=0.4)
    found = {
        "every look": alarms(base).z,
        "requests of users": alarms(replace(base, users=1000, likeness=0.5, tail=1.5)).pooled,
        "totals of a ramp": alarms(ramp).pooled,
    }
    print(share, found)

    assert found["every look"] > 0.30
    assert found["requests of users"] > 0.15
    assert found["totals of a ramp"] > 0.50


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(
    ("name", "quantile", "is_rate"),
    [
        ("binary .9", rate(0.9, 0.88), True),
        ("binary .98", rate(0.98, 0.96), True),
        ("binary 1", rate(1 - 1e-12, 0.98), True),
        ("Beta(4,1)", beta(lower=0.02), False),
        ("a perfect score that rarely fails", rate(1 - 1e-12, 0.98), False),
        ("Beta(4,1) that rarely fails", failing(0.025), False),
    ],
)
def test_at_the_margin(name: str, quantile: object, is_rate: bool, share: float) -> None:
    """
    A canary that is worse by exactly the margin is promoted in at most alpha of all runs.
    """
    world = World(quantile=quantile, share=share, runs=RUNS, seed=24)  # type: ignore[arg-type]
    found = alarms(world, is_rate=is_rate, width=1.0)
    shown(f"at the margin: {name}, {share:.0%}", found)

    assert found.promoted <= at_most(ALPHA, RUNS)


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


def test_eight_metrics_have_one_chance_of_error() -> None:
    """
    Eight metrics that depend on one another, none worse, are reverted in at most alpha of all runs.
    """
    generator = np.random.default_rng(26)
    total = np.zeros((2, RUNS, 8))
    level = families.levels([1.0] * 8, alpha=ALPHA * 0.8)[0]
    counts = np.zeros((2, RUNS, 1))
    reverted, single = (np.zeros(RUNS, dtype=bool) for _ in range(2))
    for _ in range(200):
        common = generator.standard_normal((2, RUNS, 1))
        sizes = generator.binomial(200, 0.1, (RUNS, 1))
        sizes = np.stack([200 - sizes, sizes])
        total += np.sqrt(sizes) * (
            0.7 * common + math.sqrt(1 - 0.49) * generator.standard_normal((2, RUNS, 8))
        )
        counts += sizes
        variance = 1 / counts[0] + 1 / counts[1]
        difference = total[1] / counts[1] - total[0] / counts[0]
        log_e = mixture.log_e_one_sided(-difference, variance, 0.06)
        average = np.log(np.mean(np.exp(log_e), axis=1))
        together = average >= -math.log(ALPHA * 0.2)
        reverted |= (log_e >= level).any(axis=1) | together
        single |= (log_e >= LEVEL).any(axis=1)
    print(f"eight metrics: corrected {reverted.mean():.2%}, each at alpha {single.mean():.2%}")

    assert reverted.mean() <= at_most(ALPHA, RUNS)
    assert single.mean() > at_most(ALPHA, RUNS)


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


def test_sample_ratio() -> None:
    """
    Looked at every 100 units, the planned share is flagged in at most 1 %; 8 % for 10 % in all.
    """
    generator = np.random.default_rng(28)
    found: dict[str, tuple[float, float]] = {}
    for name, planned, served in (
        ("as planned, 10 %", 0.1, 0.1), ("as planned, 50 %", 0.5, 0.5), ("8 % for 10 %", 0.1, 0.08),
        ("9 % for 10 %", 0.1, 0.09), ("40 % for 50 %", 0.5, 0.4),
    ):  # fmt: skip
        canary = np.cumsum(generator.binomial(100, served, (RUNS, 400)), axis=1)
        units = 100 * np.arange(1, 401)
        flags = sample_ratio.log_e_paths(planned, units - canary, canary) >= -math.log(0.01)
        when = np.where(flags.any(axis=1), units[flags.argmax(axis=1)], np.inf)
        found[name] = float(flags.any(axis=1).mean()), float(np.median(when))
        print(f"{name}: {found[name][0]:.2%}, median {found[name][1]:.0f}")

    assert max(found[name][0] for name in found if name.startswith("as")) <= at_most(0.01, RUNS)
    assert found["8 % for 10 %"][0] == found["40 % for 50 %"][0] == 1.0


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
