"""Several metrics, one chance of error: published examples and laws."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrace.quality import families, final_look
from mvtrace.quality.events import EventCount

evidence = st.lists(st.floats(-20, 20), min_size=1, max_size=8)


def test_levels_share_alpha_by_weight() -> None:
    """
    The chances that the levels leave add up to alpha, in proportion to the weights.
    """
    levels = families.levels([2.0, 1.0, 1.0], alpha=0.04)

    assert [math.exp(-level) for level in levels] == pytest.approx([0.02, 0.01, 0.01])


def test_average_is_the_mean_of_e_values() -> None:
    """
    The average is the weighted mean of the e-values; of none it is 1.
    """
    assert families.average([math.log(2), math.log(8)], [1, 1]) == pytest.approx(math.log(5))
    assert families.average([math.log(2), math.log(8)], [3, 1]) == pytest.approx(math.log(3.5))
    assert families.average([-math.inf, math.log(8)], [1, 1]) == pytest.approx(math.log(4))
    assert families.average([], []) == 0.0


def test_discoveries_step_up() -> None:
    """
    Three e-values of 70 among four are discoveries at 0.05 (4 / (0.05 · 3) = 26.7), and one of
    70 alone is none (80).
    """
    strong = math.log(70)

    assert families.discoveries([strong, 0.0, strong, strong], alpha=0.05) == [
        True,
        False,
        True,
        True,
    ]
    assert families.discoveries([strong, 0.0, 0.0, 0.0], alpha=0.05) == [False] * 4


@settings(deadline=None, max_examples=60)
@given(evidence, st.integers(0, 7), st.floats(0, 10))
def test_more_evidence_discovers_no_less(found: list[float], place: int, more: float) -> None:
    """
    Raising one e-value never takes a discovery away.
    """
    raised = [*found]
    raised[place % len(found)] += more

    before, after = (families.discoveries(one, alpha=0.1) for one in (found, raised))

    assert all(then or not now for now, then in zip(before, after, strict=True))


def test_final_test_of_events_is_the_binomial_one() -> None:
    """
    Under one share it is the binomial test, summed here in whole numbers.
    """
    harm, within = final_look.p_of_events([EventCount(0.1, 12, 8)], 2.25)

    more = sum(math.comb(20, k) * 9 ** (20 - k) for k in range(8, 21)) / 10**20
    # The share of 0.1 with a ratio of 2.25 is 0.225 / 1.125 = 1 / 5.
    fewer = sum(math.comb(20, k) * 4 ** (20 - k) for k in range(9)) / 5**20
    assert harm == pytest.approx(more, rel=1e-9)
    assert within == pytest.approx(fewer, rel=1e-9)


def test_final_test_of_events_over_shares() -> None:
    """
    Several shares are a sum of binomial variables, counted by hand for three events.
    """
    harm, _ = final_look.p_of_events([EventCount(0.1, 0, 1), EventCount(0.5, 1, 1)], 2.0)

    assert harm == pytest.approx(0.1 * 0.75 + 0.9 * 0.25)


def test_final_test_of_a_mean() -> None:
    """
    It is a t test: 2.0 standard errors with 10 degrees of freedom are p = 0.03669.
    """
    assert final_look.p_of_mean(0.2, 0.01, 10) == pytest.approx(0.0366940, rel=1e-5)
    assert final_look.p_of_mean(0.2, 0.0, 10) == 1.0
    assert final_look.p_of_mean(0.2, 0.01, 0) == 1.0
