"""The event test against every case there is, and its laws."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mvtrace.quality import events, sample_ratio
from mvtrace.quality.events import EventCount
from mvtrace.quality.sample_ratio import UnitCount

counts = st.integers(0, 500)
shares = st.floats(0.01, 0.99)


@pytest.mark.parametrize("ratio", [1.0, 1.25])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_under_the_null_the_expected_evidence_is_one(share: float, ratio: float, sign: int) -> None:
    """
    Over all 2^8 sequences of events, E has expectation 1, to the last digits.
    """
    null = events.shifted(share, ratio)
    test = events.log_e_more if sign > 0 else events.log_e_fewer
    expected = 0.0
    for sequence in itertools.product((0, 1), repeat=8):
        canary = sum(sequence)
        seen = [EventCount(share, 8 - canary, canary)]
        probability = null**canary * (1 - null) ** (8 - canary)
        expected += probability * math.exp(test(seen, scale=0.3, ratio=ratio))

    assert expected == pytest.approx(1.0, abs=1e-12)


def test_over_two_shares_the_expected_evidence_is_one() -> None:
    """
    Events under several planned shares make one e-value of expectation 1.
    """
    expected = sum(
        stats.binom.pmf(one, 8, 0.05)
        * stats.binom.pmf(other, 9, 0.5)
        * math.exp(
            events.log_e_more(
                [EventCount(0.05, 8 - one, one), EventCount(0.5, 9 - other, other)], scale=0.3
            )
        )
        for one in range(9)
        for other in range(10)
    )

    assert expected == pytest.approx(1.0, abs=1e-12)


def test_no_look_of_many_is_above_the_level_too_often() -> None:
    """
    Of all sequences of 14 events, at most alpha ever reach 1 / alpha at any event: exactly counted.
    """
    share, alpha, horizon = 0.3, 0.2, 14
    reached = 0.0
    alive = {0: 1.0}
    for number in range(1, horizon + 1):
        following: dict[int, float] = {}
        for canary, probability in alive.items():
            for is_canary in (0, 1):
                chance = probability * (share if is_canary else 1 - share)
                seen = [EventCount(share, number - canary - is_canary, canary + is_canary)]
                if events.log_e_more(seen, scale=1.0) >= math.log(1 / alpha):
                    reached += chance
                else:
                    place = canary + is_canary
                    following[place] = following.get(place, 0.0) + chance
        alive = following

    assert 0 < reached <= alpha


@settings(deadline=None, max_examples=60)
@given(shares, counts, counts, st.integers(1, 50))
def test_more_events_of_the_canary_are_more_evidence(
    share: float, baseline: int, canary: int, more: int
) -> None:
    """
    Evidence of more events grows with those of the canary and falls with those of the baseline.
    """
    seen = events.log_e_more([EventCount(share, baseline, canary)], scale=0.3)

    assert events.log_e_more([EventCount(share, baseline, canary + more)], scale=0.3) >= seen
    assert events.log_e_more([EventCount(share, baseline + more, canary)], scale=0.3) <= seen


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(shares, counts, counts), min_size=1, max_size=5))
def test_order_of_shares_does_not_matter(seen: list[tuple[float, int, int]]) -> None:
    """
    Whatever the order of the shares, and however events under one share are grouped, E is the same.
    """
    groups = [EventCount(*one) for one in seen]
    halved = [EventCount(one.share, one.baseline // 2, one.canary) for one in groups]
    halved += [EventCount(one.share, one.baseline - one.baseline // 2, 0) for one in groups]

    found = events.log_e_more(groups, scale=0.3)

    assert events.log_e_more(groups[::-1], scale=0.3) == pytest.approx(found, rel=1e-9, abs=1e-9)
    assert events.log_e_more(halved, scale=0.3) == pytest.approx(found, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("share", "baseline", "canary"), [(0.1, 900, 100), (0.5, 40, 90), (0.05, 0, 9)]
)
def test_interval_is_what_neither_side_rejects(share: float, baseline: int, canary: int) -> None:
    """
    Just outside the interval one of both one-sided tests rejects the ratio, just inside none does.
    """
    seen = [EventCount(share, baseline, canary)]
    level = math.log(2 / 0.05)

    low, high = events.ratio_interval(seen, scale=0.3, alpha=0.05)

    assert events.log_e_more(seen, scale=0.3, ratio=low * 0.999) > level
    assert events.log_e_more(seen, scale=0.3, ratio=low * 1.001) < level
    if high is None:
        assert events.log_e_fewer(seen, scale=0.3, ratio=1e13) < level
    else:
        assert events.log_e_fewer(seen, scale=0.3, ratio=high * 1.001) > level


def test_interval_of_nothing_is_everything() -> None:
    """
    Without events any ratio is possible, and none is estimated.
    """
    seen = [EventCount(0.1, 0, 0)]

    assert events.ratio_interval(seen, scale=0.3, alpha=0.05) == (0.0, None)
    assert events.rate_ratio(seen) is None
    assert events.log_e_more(seen, scale=0.3) == pytest.approx(0.0, abs=1e-12)


def test_ratio_of_rates() -> None:
    """
    Three times as many events as the share says is a ratio of rates of three, under any shares.
    """
    seen = [EventCount(0.1, 900, 300), EventCount(0.5, 100, 300)]

    assert events.rate_ratio(seen) == pytest.approx(3.0)


def test_arrays_are_numbers_side_by_side() -> None:
    """
    Paths of counts give for each place what the counts there give.
    """
    below, above = np.array([[0.0, 10.0]]), np.array([[3.0, 4.0]])

    found = events.log_e_paths({0.1: (below, above)}, scale=0.3)

    assert found == pytest.approx(
        np.array(
            [
                [
                    events.log_e_more([EventCount(0.1, 0, 3)], scale=0.3),
                    events.log_e_more([EventCount(0.1, 10, 4)], scale=0.3),
                ]
            ]
        )
    )


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_expected_evidence_of_the_sample_ratio_is_one(share: float) -> None:
    """
    Over every number of units that the canary may get of 400, E has expectation 1.
    """
    canary = np.arange(401)

    evidence = np.exp(sample_ratio.log_e_paths(share, 400 - canary, canary))

    assert np.sum(stats.binom.pmf(canary, 400, share) * evidence) == pytest.approx(1.0, abs=1e-9)


def test_sample_ratios_multiply() -> None:
    """
    Units under different shares each add their evidence; without units there is none.
    """
    one, other = UnitCount(0.1, 800, 200), UnitCount(0.5, 500, 500)

    together = sample_ratio.log_e_ratio([one, other])

    assert together == sample_ratio.log_e_ratio([one]) + sample_ratio.log_e_ratio([other])
    assert sample_ratio.log_e_ratio([]) == 0.0


@settings(deadline=None, max_examples=60)
@given(shares, st.integers(0, 10_000), st.integers(0, 10_000))
def test_sample_ratio_does_not_care_which_arm_is_which(share: float, one: int, other: int) -> None:
    """
    Swapping the arms, with the share, changes nothing.
    """
    found = sample_ratio.log_e_paths(share, one, other)

    assert sample_ratio.log_e_paths(1 - share, other, one) == pytest.approx(found, abs=1e-6)
