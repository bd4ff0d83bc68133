"""Formulas against software of others: their figures, recorded, and statsmodels where it is there.

gbstats 0.8.0 (GrowthBook) has the asymptotic confidence sequence of two arms' totals; ville 0.1.0
the mixtures of one stream, their one-sided boundary, e-BH and averages. Both were installed apart,
asked once, and what they said stands here: gbstats wants a numpy of 2023.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mvtrace.quality import families, mixture
from mvtrace.quality.estimators import Buckets, contribution, estimate, moments

GBSTATS: list[tuple[tuple[int, float, float], tuple[int, float, float], float, float, Any]] = [
    # Requests, sum, sum of squares of each arm; its tuning parameter and alpha; then
    # SequentialTwoSidedTTest's variance, interval and p-value.
    (
        (9000, 8100.0, 8100.0), (1000, 870.0, 870.0), 5000.0, 0.05,
        (0.0001231, -0.0639672242604308, 0.003967224260430752, 0.13185306766738242),
    ),
    (
        (4000, 3600.0, 3600.0), (4000, 3480.0, 3480.0), 5000.0, 0.05,
        (5.0775e-05, -0.05171475554849558, -0.008285244451504466, 0.0010007545704176037),
    ),
    (
        (1900, 1520.0, 1260.0), (100, 71.0, 55.0), 1000.0, 0.01,
        (0.00047583114759468, -0.16843292023016526, -0.011567079769834898, 0.0014055261336243091),
    ),
]  # fmt: skip

VILLE_BOUNDARIES = [
    # Intrinsic time, alpha, precision; two-sided and one-sided boundary of ville's normal_mixture.
    (500.0, 0.05, 10.0, 71.13984812827812, 65.99727887301341),
    (5000.0, 0.05, 50.0, 231.43736641463855, 215.81136795740383),
    (20000.0, 0.01, 2500.0, 506.6263034619591, 474.8825007993506),
]

VILLE_MSPRT = [
    # Sigma and tau; ln E of ville's MSPRT against 0.02 after 10, 100 and 400 of the stream.
    (0.3, 0.02, (-0.015832390485235878, 0.025539319339050542, 1.7647299317895537)),
    (0.5, 0.1, (-0.15395040402489224, -0.6087189562170504, -0.21190078967517278)),
]
STREAM = ((7 * np.arange(400)) % 11) / 10 - 0.44

E_VALUES = [70.0, 1.0, 90.0, 55.0, 3.0, 200.0, 8.0, 14.0]


@pytest.mark.parametrize(("baseline", "canary", "tuning", "alpha", "expected"), GBSTATS)
def test_interval_and_p_value_of_gbstats(
    baseline: tuple[int, float, float],
    canary: tuple[int, float, float],
    tuning: float,
    alpha: float,
    expected: tuple[float, float, float, float],
) -> None:
    """
    With Welch's variance and its scale our interval and always-valid p-value are those of gbstats.
    """
    variance, low, high, p = expected
    requests = baseline[0] + canary[0]
    rho = math.sqrt((-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuning)
    tau = rho * math.sqrt(variance * requests)
    difference = canary[1] / canary[0] - baseline[1] / baseline[0]

    half = mixture.radius(variance, tau, alpha)

    assert difference - half == pytest.approx(low, rel=1e-9)
    assert difference + half == pytest.approx(high, rel=1e-9)
    assert mixture.always_valid_p(
        mixture.log_e_two_sided(difference, variance, tau)
    ) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize(
    ("baseline", "canary", "expected"),
    [(one[0], one[1], one[4][0]) for one in GBSTATS if one[0][1] == one[0][2]],
)
def test_variance_is_no_less_than_that_of_gbstats(
    baseline: tuple[int, float, float], canary: tuple[int, float, float], expected: float
) -> None:
    """
    From the totals of rates, a request a bucket, our robust variance is gbstats's up to G / (G - 1),
    and the one that is used never below it.
    """
    size = baseline[0] + canary[0]
    arms = [Buckets.of_values(*(np.zeros(size) for _ in range(3))) for _ in range(2)]
    for arm, (number, good, _), first in zip(
        arms, (baseline, canary), (0, baseline[0]), strict=True
    ):
        arm.requests[first : first + number] = 1
        arm.total[first : first + int(good)] = 1
        arm.squares[first : first + int(good)] = 1

    found = estimate(moments(contribution(arms[0], arms[1])))

    welch = sum(
        (good / number) * (1 - good / number) / (number - 1)
        for number, good, _ in (baseline, canary)
    )
    assert found.robust == pytest.approx(welch, rel=1e-9)
    assert found.robust == pytest.approx(expected, rel=2 / canary[0])
    assert found.variance >= found.robust


@pytest.mark.parametrize(("time", "alpha", "precision", "both", "one"), VILLE_BOUNDARIES)
def test_boundaries_of_ville(
    time: float, alpha: float, precision: float, both: float, one: float
) -> None:
    """
    At ville's boundaries our evidence is 1 / alpha, two-sided and one-sided.
    """
    variance, tau, level = 1 / time, 1 / math.sqrt(precision), -math.log(alpha)

    assert mixture.log_e_two_sided(both / time, variance, tau) == pytest.approx(level, rel=1e-9)
    assert mixture.log_e_one_sided(one / time, variance, tau) == pytest.approx(level, rel=1e-9)
    assert mixture.radius(variance, tau, alpha) == pytest.approx(both / time, rel=1e-9)


@pytest.mark.parametrize(("sigma", "tau", "expected"), VILLE_MSPRT)
def test_evidence_of_ville(sigma: float, tau: float, expected: tuple[float, ...]) -> None:
    """
    Along a stream of numbers our evidence is that of ville's mSPRT at each look.
    """
    found = [
        mixture.log_e_two_sided(float(STREAM[:size].mean()) - 0.02, sigma**2 / size, tau)
        for size in (10, 100, 400)
    ]

    assert found == pytest.approx(expected, rel=1e-9)


def test_discoveries_and_average_of_ville() -> None:
    """
    Of eight e-values the same are discoveries, and their weighted mean is the same.
    """
    logs = [math.log(one) for one in E_VALUES]

    assert families.discoveries(logs, alpha=0.1) == [
        True, False, True, True, False, True, False, False,
    ]  # fmt: skip
    assert families.average(logs, [1, 2, 3, 1, 1, 1, 1, 2]) == pytest.approx(math.log(53.0))


@pytest.mark.statistics
@pytest.mark.parametrize("seed", range(4))
def test_robust_variance_is_that_of_statsmodels(seed: int) -> None:
    """
    Of users with few or many requests, least squares clustered by user give our difference and,
    G / (G - 1) aside, our variance, to nine digits.
    """
    pytest.importorskip("statsmodels")
    from statsmodels.regression.linear_model import OLS

    generator = np.random.default_rng(seed)
    sizes = generator.geometric(0.2, 60)
    users = np.repeat(np.arange(60), sizes)
    arms = (users < 9 + 5 * seed).astype(float)
    values = generator.normal(0, 1, len(users)) + generator.normal(0, 1, 60)[users] + 0.1 * arms
    fitted = OLS(values, np.column_stack([np.ones(len(users)), arms])).fit(
        cov_type="cluster", cov_kwds={"groups": users, "use_correction": False}
    )

    found = moments(contribution(*(_buckets(values, users, arms == arm) for arm in (0, 1))))
    uncorrected = (
        found.spread_baseline * (found.clusters_baseline - 1) / found.clusters_baseline
        + found.spread_canary * (found.clusters_canary - 1) / found.clusters_canary
    ) / found.weight**2

    assert estimate(found).difference == pytest.approx(fitted.params[1], rel=1e-9)
    assert uncorrected == pytest.approx(fitted.cov_params()[1, 1], rel=1e-9)


def _buckets(values: Any, users: Any, chosen: Any) -> Buckets:
    """Return a bucket a user, of the requests that are *chosen*."""
    kept = values * chosen
    return Buckets.of_values(
        np.bincount(users, weights=chosen.astype(float)),
        np.bincount(users, weights=kept),
        np.bincount(users, weights=kept * kept),
    )
