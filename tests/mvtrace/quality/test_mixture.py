"""The normal mixture against quadrature, against the published interval, and its laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from mvtrace.quality import mixture

CASES = [
    (0.0, 1e-4, 0.02),
    (0.03, 1e-4, 0.02),
    (-0.03, 1e-4, 0.02),
    (0.5, 0.04, 0.3),
    (2.0, 1.0, 1.0),
]


@pytest.mark.parametrize(("difference", "variance", "tau"), CASES)
def test_both_sides_are_an_average_of_likelihood_ratios(
    difference: float, variance: float, tau: float
) -> None:
    """
    E is the likelihood ratio against 0, integrated over a normal prior.
    """
    error = math.sqrt(variance)

    def weighed(theta: float) -> float:
        ratio = stats.norm.pdf(difference, theta, error) / stats.norm.pdf(difference, 0, error)
        return float(ratio * stats.norm.pdf(theta, 0, tau))

    expected, _ = integrate.quad(weighed, -12 * tau, 12 * tau, points=[0.0, difference], limit=400)

    assert mixture.log_e_two_sided(difference, variance, tau) == pytest.approx(math.log(expected))


@pytest.mark.parametrize(("difference", "variance", "tau"), CASES)
def test_one_side_is_an_average_over_half_a_prior(
    difference: float, variance: float, tau: float
) -> None:
    """
    One-sided E is the same over the half of the prior above 0, with twice its density.
    """
    error = math.sqrt(variance)

    def weighed(theta: float) -> float:
        ratio = stats.norm.pdf(difference, theta, error) / stats.norm.pdf(difference, 0, error)
        return float(2 * ratio * stats.norm.pdf(theta, 0, tau))

    near = [difference] if difference > 0 else []
    expected, _ = integrate.quad(weighed, 0, 12 * tau, points=near, limit=400)

    assert mixture.log_e_one_sided(difference, variance, tau) == pytest.approx(math.log(expected))


@pytest.mark.parametrize("requests", [100, 5_000, 1_000_000])
def test_interval_is_the_published_one(requests: int) -> None:
    """
    The interval is that of Waudby-Smith et al. (2021), theorem 2.2, in its own notation.
    """
    sigma, rho, alpha = 0.3, 0.0363, 0.05
    n = requests
    published = sigma * math.sqrt(
        2 * (n * rho**2 + 1) / (n**2 * rho**2) * math.log(math.sqrt(n * rho**2 + 1) / alpha)
    )

    assert mixture.radius(sigma**2 / n, sigma * rho, alpha) == pytest.approx(published, rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.floats(-1, 1), st.floats(1e-8, 1.0), st.floats(1e-3, 1.0), st.floats(1e-6, 0.5))
def test_interval_is_what_the_test_does_not_reject(
    difference: float, variance: float, tau: float, alpha: float
) -> None:
    """
    A difference outside the interval by a hair is rejected, one inside by a hair is not.
    """
    half = mixture.radius(variance, tau, alpha)
    level = math.log(1 / alpha)

    assert mixture.log_e_two_sided(half * (1 + 1e-6), variance, tau) >= level
    assert mixture.log_e_two_sided(half * (1 - 1e-6), variance, tau) < level


@settings(deadline=None, max_examples=60)
@given(st.floats(-1, 1), st.floats(0, 1), st.floats(1e-8, 1.0), st.floats(1e-3, 1.0))
def test_more_difference_is_more_evidence(
    difference: float, more: float, variance: float, tau: float
) -> None:
    """
    One-sided evidence never falls when the difference grows, also far in the tail.
    """
    less = mixture.log_e_one_sided(difference, variance, tau)

    assert mixture.log_e_one_sided(difference + more, variance, tau) >= less - 1e-9 * abs(less)


@settings(deadline=None, max_examples=60)
@given(st.floats(1e-4, 1), st.floats(1e-3, 1.0), st.floats(0.1, 12))
def test_needed_variance_reaches_the_level(difference: float, tau: float, level: float) -> None:
    """
    At the variance that a level needs the evidence is at that level.
    """
    variance = mixture.variance_needed(difference, tau, level)

    assert variance is not None
    assert mixture.log_e_one_sided(difference, variance, tau) == pytest.approx(level, rel=1e-6)


def test_no_variance_is_no_evidence() -> None:
    """
    A variance of 0 or one that is not known gives no evidence, and an interval without end.
    """
    for variance in (0.0, math.nan, math.inf):
        assert mixture.log_e_one_sided(0.1, variance, 0.1) == -math.inf
        assert mixture.log_e_two_sided(0.1, variance, 0.1) == -math.inf
        assert mixture.radius(variance, 0.1, 0.05) == math.inf
    assert mixture.variance_needed(0.0, 0.1, 3.0) is None
    assert mixture.variance_needed(0.1, 0.1, 0.0) is None


def test_arrays_are_numbers_side_by_side() -> None:
    """
    An array gives for each place what the number there gives.
    """
    differences, variances = np.array([0.0, 0.1, -0.2]), np.array([0.01, 0.0, 0.02])

    found = mixture.log_e_one_sided(differences, variances, 0.1)

    assert found.tolist() == [
        mixture.log_e_one_sided(float(d), float(v), 0.1)
        for d, v in zip(differences, variances, strict=True)
    ]


def test_always_valid_p() -> None:
    """
    The p-value is one over the largest E, and never above 1.
    """
    assert mixture.always_valid_p(math.log(20)) == pytest.approx(0.05)
    assert mixture.always_valid_p(-3.0) == 1.0
