"""The estimator against published software, and what must not change it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollups import STARTED, arms_after, plan_of

from mvtrace.quality.cells import Cell, CellKey, RollUp, Stratum
from mvtrace.quality.estimators import (
    Buckets,
    Estimate,
    Moments,
    contribution,
    estimate,
    moments,
    variance_of_rate_at,
    variance_unseen,
)
from mvtrace.quality.plan import Metric
from mvtrace.quality.sufficient import known, reduce

OLS_DIFFERENCE = 0.03966666666666646
OLS_VARIANCE = 0.0009525161111111159
"""statsmodels 0.15.0: OLS of the value on the arm, cov_type="cluster", use_correction=False."""


def buckets_of(values: list[list[float]]) -> Buckets:
    """Return one stratum's buckets of an arm, from the values of each."""
    return Buckets.of_values(
        np.array([float(len(one)) for one in values]),
        np.array([sum(one) for one in values]),
        np.array([sum(value**2 for value in one) for one in values]),
    )


def estimate_of(*strata: tuple[Buckets, Buckets]) -> Estimate:
    """Return the estimate of all strata together."""
    parts = [contribution(*both) for both in strata]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return estimate(moments(total))


def clustered(arm: int) -> Buckets:
    """Return the 25 clusters of the baseline, or the 15 of the canary, of the recorded regression."""
    return buckets_of(
        [
            [((7 * k + 3 * i) % 11) / 10 + 0.05 * (k >= 25) for i in range(2 + k % 5)]
            if (k >= 25) == bool(arm)
            else []
            for k in range(40)
        ]
    )


def test_robust_variance_is_that_of_clustered_least_squares() -> None:
    """
    In one stratum the difference and its variance are those of statsmodels, G / (G - 1) aside.
    """
    found = moments(contribution(clustered(0), clustered(1)))
    one = estimate(found)
    uncorrected = (
        found.spread_baseline * 24 / 25 + found.spread_canary * 14 / 15
    ) / found.weight**2

    assert one.difference == pytest.approx(OLS_DIFFERENCE, rel=1e-9)
    assert uncorrected == pytest.approx(OLS_VARIANCE, rel=1e-9)
    assert one.variance == max(one.robust, one.pooled)


def test_pooled_variance_is_the_textbook_one() -> None:
    """
    Where each request is its own cluster the pooled variance is s² (1/n + 1/m).
    """
    baseline, canary = [1.0, 2.0, 4.0, 0.0, 3.0], [2.0, 5.0, 1.0]
    empty: list[list[float]] = [[]]
    one = estimate_of(
        (
            buckets_of([[value] for value in baseline] + empty * 3),
            buckets_of(empty * 5 + [[value] for value in canary]),
        )
    )
    spread = float(np.var(baseline + canary, ddof=1))

    assert one.pooled == pytest.approx(spread * (1 / 5 + 1 / 3))
    assert one.design_effect == pytest.approx(1.0)
    assert one.difference == pytest.approx(np.mean(canary) - np.mean(baseline))


def test_ratio_of_sums_by_the_delta_method() -> None:
    """
    A ratio's variance is Deng, Knoblich and Lu's for clusters, written out.
    """
    generator = np.random.default_rng(3)
    arms = []
    for size in (30, 20):
        base = generator.integers(1, 6, size).astype(float)
        total = 2.5 * base + generator.normal(0, 1, size)
        arms.append((total, base))
    stacked = [
        Buckets(np.ones(len(y)), y, y**2, x, x**2, x * y)
        for y, x in (
            (
                np.concatenate([arms[0][0], np.zeros(20)]),
                np.concatenate([arms[0][1], np.zeros(20)]),
            ),
            (
                np.concatenate([np.zeros(30), arms[1][0]]),
                np.concatenate([np.zeros(30), arms[1][1]]),
            ),
        )
    ]
    stacked[0] = dataclasses.replace(stacked[0], requests=np.array([1.0] * 30 + [0.0] * 20))
    stacked[1] = dataclasses.replace(stacked[1], requests=np.array([0.0] * 30 + [1.0] * 20))

    one = estimate_of((stacked[0], stacked[1]))

    by_hand = 0.0
    for total, base in arms:
        n, ratio = len(base), total.sum() / base.sum()
        covariance = np.cov(total, base)
        mean = base.mean()
        by_hand += (
            covariance[0, 0] - 2 * ratio * covariance[0, 1] + ratio**2 * covariance[1, 1]
        ) / (n * mean**2)
    ratios = [total.sum() / base.sum() for total, base in arms]
    assert one.difference == pytest.approx(ratios[1] - ratios[0])
    assert one.robust == pytest.approx(by_hand, rel=1e-9)


def test_hours_with_an_empty_arm_drop_out() -> None:
    """
    An hour in which one arm served nothing changes nothing, and neither does an empty one.
    """
    both = clustered(0), clustered(1)
    nothing = buckets_of([[]] * 40)

    assert estimate_of(both, (clustered(0), nothing), (nothing, nothing)) == estimate_of(both)


def test_a_ramp_does_not_mix_the_day_into_the_difference() -> None:
    """
    Equal arms on a bad hour with few canaries and a good one with many differ by nothing.
    """
    bad = [[0.0, 1.0, 0.0, 1.0]] * 30
    good = [[1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]] * 30
    found = estimate_of(
        (buckets_of(bad * 3), buckets_of(bad + [[]] * 60)),
        (buckets_of(good + [[]] * 60), buckets_of(good * 3)),
    )

    assert found.difference == pytest.approx(0.0, abs=1e-12)


values = st.lists(st.lists(st.floats(0, 1), max_size=4), min_size=6, max_size=6).filter(
    lambda one: sum(bool(part) for part in one) >= 2
)


@settings(deadline=None, max_examples=60)
@given(values, values)
def test_swapping_the_arms_turns_the_sign(
    first: list[list[float]], second: list[list[float]]
) -> None:
    """
    Which arm is called the canary changes the sign of the difference and no variance.
    """
    one = estimate_of((buckets_of(first), buckets_of(second)))
    other = estimate_of((buckets_of(second), buckets_of(first)))

    assert other.difference == pytest.approx(-one.difference, abs=1e-12)
    assert other.variance == pytest.approx(one.variance, rel=1e-9, abs=1e-15)


@settings(deadline=None, max_examples=60)
@given(values, values, st.floats(-10, 10))
def test_an_added_constant_changes_nothing(
    first: list[list[float]], second: list[list[float]], constant: float
) -> None:
    """
    Values that are all larger by a constant have the same difference and the same variance.
    """
    one = estimate_of((buckets_of(first), buckets_of(second)))
    shifted = [[[value + constant for value in part] for part in arm] for arm in (first, second)]
    other = estimate_of((buckets_of(shifted[0]), buckets_of(shifted[1])))

    assert other.difference == pytest.approx(one.difference, abs=1e-9)
    assert other.variance == pytest.approx(one.variance, rel=1e-6, abs=1e-9)


def test_a_constant_is_no_evidence_whatever_its_rounding() -> None:
    """
    Values that are all one have no variance, also where sums of 0.1 are not exact.
    """
    one = estimate_of((buckets_of([[0.1] * 7] * 30), buckets_of([[0.1] * 3] * 30)))

    assert one.variance == 0.0


def test_one_cluster_tells_no_variance() -> None:
    """
    A canary in a single cluster has a variance that is not known.
    """
    one = estimate_of((buckets_of([[0.0, 1.0], [1.0]]), buckets_of([[0.0, 1.0], []])))

    assert math.isnan(one.variance)


def per_user_and_bucketed() -> tuple[RollUp, RollUp]:
    """Return one comparison with a bucket a user, and with users' hours split over several cells."""
    generator = np.random.default_rng(5)
    fine: dict[CellKey, Cell] = {}
    split = RollUp()
    for user in range(300):
        arm = "canary" if user % 5 == 0 else "stable"
        for hour in range(4):
            given = generator.integers(0, 2, int(generator.integers(0, 6))).astype(float).tolist()
            if given:
                key = CellKey(arm, "success", Stratum(STARTED + hour), user)
                fine[key] = Cell.of(given)
                for value in given:
                    split = split.merge(RollUp(cells={key: Cell.of([value])}))
    return RollUp(cells=fine), split


def test_sums_by_user_and_request_by_request_agree() -> None:
    """
    A bucket a user gives the same statistics as the users' requests one by one, to nine digits.
    """
    fine, split = per_user_and_bucketed()

    found = [reduce(plan_of(), one, arms_after(4)).metrics[0].moments for one in (fine, split)]

    assert found[0] is not None
    assert found[1] is not None
    assert dataclasses.astuple(found[0]) == pytest.approx(dataclasses.astuple(found[1]), rel=1e-9)


def test_rate_at_the_margin_has_a_variance() -> None:
    """
    A canary of thirty requests without a failure could be worse by the margin: its variance says so.
    """
    ones = [[1.0]] * 30
    found = moments(contribution(buckets_of(ones * 20 + [[]] * 30), buckets_of([[]] * 600 + ones)))

    assert estimate(found).variance == 0.0
    assert variance_of_rate_at(found, 0.02, 1) == pytest.approx(0.02 * 0.98 / 30, rel=0.02)
    assert variance_of_rate_at(found, 0.02, -1) < 1e-5  # no rate is above 1
    assert variance_unseen(found, 0.04, 4.0) == pytest.approx(0.01 * 0.99 * 4.0**2 / 30)


def test_nothing_is_estimated_from_nothing() -> None:
    """
    Without a metric's cells there are no moments, and moments survive being plain values.
    """
    nothing = reduce(
        plan_of(Metric(name="other", kind="rate", margin=0.1)), RollUp(), arms_after(1)
    )
    filled = Moments(*([1.0] * 12), None)

    assert nothing.metrics[0].moments is None
    assert math.isnan(known(filled).spread_common)
