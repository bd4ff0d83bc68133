"""The paired, clustered comparison: against published values, other programs, and simulation."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mvtrace.quality.paired import (
    FLIPS,
    MANY_GROUPS,
    compare,
    detectable,
    group_sums,
    holm,
    mcnemar,
    paired_difference,
    sign_flip,
    unlike_at_most,
)

ALPHA = 0.05
SLEEP = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
OTHER = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
"""Student's sleep data (1908): extra hours with two drugs, ten patients."""

finite = st.floats(-1, 1).map(lambda value: round(value, 6))


def test_without_groups_it_is_students_paired_test() -> None:
    """
    On the data of the paper that introduced it: t = 4.0621 with 9 degrees of freedom, p = 0.002833,
    95 % interval 0.7001142 to 2.4598858.
    """
    found = paired_difference(np.subtract(OTHER, SLEEP), range(10))

    assert found.freedom == pytest.approx(9)
    assert found.difference == pytest.approx(1.58)
    assert found.error is not None
    assert found.difference / found.error == pytest.approx(4.0621, abs=5e-5)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert found.interval == pytest.approx((0.7001142, 2.4598858), abs=5e-8)


def test_equal_groups_have_the_error_of_clustered_regression() -> None:
    """
    These are the numbers of statsmodels 0.15: OLS on a constant, cov_type="cluster", use_t.
    """
    differences = [(7 * n * n + 3 * n) % 11 / 10 - 0.5 for n in range(60)]
    groups = [n // 5 for n in range(60)]

    found = paired_difference(differences, groups)

    assert (found.groups, found.freedom) == (12, pytest.approx(11))
    assert found.error == pytest.approx(STATSMODELS["error"], rel=1e-12)
    assert found.p == pytest.approx(STATSMODELS["p"], rel=1e-9)
    assert found.interval == pytest.approx(STATSMODELS["interval"], rel=1e-9)


STATSMODELS: dict[str, Any] = {
    "error": 0.01632993161855453,
    "p": 7.480877609299414e-05,
    "interval": (-0.1359419371577498, -0.06405806284225027),
}
"""What statsmodels says of the data above."""


@settings(deadline=None)
@given(st.lists(st.tuples(finite, st.integers(0, 5)), min_size=2, max_size=40))
def test_unequal_groups_by_the_matrices_of_bell_and_mccaffrey(
    rows: list[tuple[float, int]],
) -> None:
    """
    The closed form gives what the definition by matrices gives: residuals times (I - H)^(-1/2) for
    each group, and Satterthwaite's degrees of freedom of that quadratic form.
    """
    values, groups = np.array([row[0] for row in rows]), [row[1] for row in rows]
    found = paired_difference(values, groups)
    if found.error is None:
        return

    error, freedom = by_matrices(values, groups)

    assert found.error == pytest.approx(error, rel=1e-6, abs=1e-9)
    assert found.freedom == pytest.approx(freedom, rel=1e-6)


def by_matrices(values: Any, groups: list[int]) -> tuple[float, float]:
    """Return the CR2 error and its degrees of freedom of a mean, as they are defined."""
    number = len(values)
    hat = np.full((number, number), 1 / number)
    residuals = values - values.mean()
    variance, columns = 0.0, []
    for group in dict.fromkeys(groups):
        inside = np.array([one == group for one in groups])
        own = np.eye(inside.sum()) - hat[np.ix_(inside, inside)]
        eigenvalues, vectors = np.linalg.eigh(own)
        adjust = vectors @ np.diag(eigenvalues**-0.5) @ vectors.T
        weights = adjust @ np.full(inside.sum(), 1 / number)
        variance += float(weights @ residuals[inside]) ** 2
        columns.append((np.eye(number) - hat)[:, inside] @ weights)
    table = np.column_stack(columns)
    eigenvalues = np.linalg.eigvalsh(table.T @ table)
    return float(np.sqrt(variance)), float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


@settings(deadline=None)
@given(st.lists(st.tuples(finite, finite, st.integers(0, 8)), min_size=1, max_size=40))
def test_the_order_and_the_names_of_groups_change_nothing(
    rows: list[tuple[float, float, int]],
) -> None:
    """
    The other way round only the sign changes; examples may come in any order.
    """
    first, second = [row[0] for row in rows], [row[1] for row in rows]
    groups = [row[2] for row in rows]
    found = compare(first, second, groups)
    turned = compare(second[::-1], first[::-1], [f"g{one}" for one in groups[::-1]])

    assert turned.difference.difference == pytest.approx(-found.difference.difference, abs=1e-12)
    assert (turned.difference.error is None) == (found.difference.error is None)
    if found.difference.error is not None:
        assert turned.difference.error == pytest.approx(found.difference.error, rel=1e-6)
    assert turned.flip == pytest.approx(found.flip)


def test_few_groups_are_flipped_in_every_way() -> None:
    """
    The check is exact: it agrees with scipy's permutation test on the sums of groups, and with
    counting by hand.
    """
    sums = [0.3, -0.1, 0.5, 0.2, 0.4, -0.2, 0.9]
    exact = stats.permutation_test(
        (sums,), lambda one, axis: np.abs(np.sum(one, axis=axis)),
        permutation_type="samples", alternative="greater", n_resamples=np.inf, vectorized=True,
    )  # fmt: skip

    assert sign_flip(sums, range(7)) == pytest.approx(exact.pvalue)
    assert sign_flip([1.0, 1.0, 1.0], range(3)) == 2 / 8
    assert sign_flip([1.0, 1.0, 1.0], [0, 0, 1]) == 2 / 4
    assert sign_flip([0.0, 0.0], range(2)) == 1.0


def test_many_groups_are_flipped_by_chance_and_always_the_same() -> None:
    """
    Drawn flips come near the exact answer, are the same every time, and never say zero.
    """
    near = [0.1 * n - 0.3 for n in range(14)]
    exact = sign_flip(near, range(14))
    drawn = sign_flip([*near, *[1e-9] * 3], range(17))

    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / FLIPS))
    assert drawn == sign_flip([*near, *[1e-9] * 3], range(17))
    assert sign_flip([1.0] * 100, range(100)) == 1 / (FLIPS + 1)


def test_mcnemar_as_published() -> None:
    """
    Agresti's approval ratings, 86 and 150 changed their mind: exact p 3.716e-05; and 0 of 0 is 1.
    """
    first = [1] * 150 + [0] * 86 + [1] * 794 + [0] * 570
    second = [0] * 150 + [1] * 86 + [1] * 794 + [0] * 570

    lost, won, p = mcnemar(first, second)

    assert (lost, won) == (150, 86)
    assert p == pytest.approx(3.716e-05, rel=1e-3)
    assert mcnemar([1, 0], [1, 0]) == (0, 0, 1.0)


@pytest.mark.parametrize(
    ("groups", "power", "size"),
    [(20, 0.8, 0.6604416545), (50, 0.9, 0.4676808602), (5, 0.8, 1.6819970833)],
)
def test_the_detectable_difference_is_that_of_the_power_of_a_t_test(
    groups: int, power: float, size: float
) -> None:
    """
    These are the effects that TTestPower().solve_power of statsmodels 0.15 gives for alpha 0.05.
    """
    assert detectable(1 / np.sqrt(groups), groups - 1, power=power) == pytest.approx(size, rel=1e-4)


def test_holm_as_published() -> None:
    """
    Each p-value times how many are left, never falling, never above one.
    """
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_same_scores_everywhere_are_no_certainty() -> None:
    """
    Without any unlike pair there is no interval, and what stays possible is said: about 3 in N.
    """
    found = compare([1.0, 0.0] * 50, [1.0, 0.0] * 50, range(100))

    assert (found.difference.difference, found.difference.interval) == (0.0, None)
    assert found.alike == unlike_at_most(100) == pytest.approx(3 / 100, rel=0.02)
    assert found.flip is None
    assert compare([0.0], [1.0], ["a"]).difference.interval is None


@pytest.mark.parametrize("groups", [2, 5, 14, 40, 5_000])
def test_a_shift_that_all_groups_share_has_the_p_of_the_sign_flip(groups: int) -> None:
    """
    Where every group lost as much nothing can be estimated, and yet the shift is no chance: of all
    signs only two are as far from zero. One group says nothing, and groups that cancel say no.
    """
    found = compare([1.0] * 2 * groups, [0.0] * 2 * groups, [n // 2 for n in range(2 * groups)])

    assert (found.difference.difference, found.difference.interval) == (-1.0, None)
    assert found.difference.p == max(2.0 ** (1 - groups), np.finfo(float).tiny)
    if groups <= 14:
        assert found.flip == found.difference.p
    assert compare([1.0, 1.0], [0.0, 0.0], ["a", "a"]).difference.p is None
    assert paired_difference([1.0, -1.0, 1.0, -1.0], [0, 0, 1, 1]).p == 1.0


def test_pairs_are_needed() -> None:
    """
    Nothing is compared with nothing, and no list with a shorter one.
    """
    for first, second in (([], []), ([1.0], [1.0, 2.0])):
        with pytest.raises(ValueError, match="there are no pairs"):
            compare(first, second, range(len(first)))


def suites(runs: int, shares: list[int], spread: float, seed: int, drop: float = 0.0) -> Any:
    """Yield differences of right-or-wrong answers in groups of these sizes that err together."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(shares)), shares)
    for _ in range(runs):
        ease = generator.normal(0.8, spread, len(shares))[groups]
        own, other = generator.normal(0, spread, (2, len(shares)))[:, groups]
        one = generator.random(len(groups)) < np.clip(ease + own, 0, 1)
        two = generator.random(len(groups)) < np.clip(ease + other - drop, 0, 1)
        yield two.astype(float) - one.astype(float), groups


def alarms(test: Callable[[Any, Any], float | None], drawn: Any) -> float:
    found = [test(differences, groups) for differences, groups in drawn]
    return sum(p is not None and p <= ALPHA for p in found) / len(found)


def clustered(differences: Any, groups: Any) -> float | None:
    return paired_difference(differences, groups.tolist()).p


def by_example(differences: Any, groups: Any) -> float | None:
    return float(stats.ttest_1samp(differences, 0).pvalue)


def usual(differences: Any, groups: Any) -> float | None:
    """Return the p-value of the clustered error that knows no sizes, with G - 1 degrees."""
    sums, sizes = group_sums(differences, groups.tolist())
    mean, number = differences.mean(), len(sizes)
    variance = ((sums - sizes * mean) ** 2).sum() / len(groups) ** 2 * number / (number - 1)
    return float(2 * stats.t.sf(abs(mean) / np.sqrt(variance), number - 1)) if variance else None


EQUAL = [5] * 60
UNEVEN = [40, 30, *[2] * 30]


def check_alarms(runs: int) -> None:
    allowed = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / runs)
    for shares, seed in itertools.product((EQUAL, UNEVEN), (1, 2)):
        assert alarms(clustered, suites(runs, shares, 0.2, seed)) <= allowed, shares
        assert alarms(by_example, suites(runs, shares, 0.2, seed)) > allowed, shares
        is_held = alarms(usual, suites(runs, shares, 0.2, seed)) <= allowed
        assert is_held == (shares is EQUAL), shares
    found = alarms(
        lambda *pair: sign_flip(pair[0], pair[1].tolist()), suites(runs // 5, EQUAL, 0.2, 3)
    )
    assert found <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / (runs // 5))


@pytest.mark.statistics
def test_false_alarms_stay_at_the_level() -> None:
    """
    Where nothing differs but groups err together, the clustered test alarms in 5 % of suites; the
    test by example, and for unequal groups the usual clustered one, in more: so the simulation
    would see a wrong one.
    """
    check_alarms(600)


def test_a_real_drop_is_found() -> None:
    """
    Ten points lost on 300 examples are found in three of four suites, and the interval covers them.
    """
    drawn = list(suites(200, EQUAL, 0.05, 4, drop=0.1))

    assert alarms(clustered, drawn) >= 0.7
    inside = [
        found.interval is not None and found.interval[0] <= -0.1 <= found.interval[1]
        for found in (paired_difference(d, g.tolist()) for d, g in drawn)
    ]
    assert np.mean(inside) >= 0.9
    assert MANY_GROUPS > 14


@pytest.mark.benchmark
def test_false_alarms_in_long() -> None:
    """
    The same over thousands of suites.
    """
    check_alarms(6_000)
