"""The permutation test against what can be counted by hand, and its laws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvtrace.reproduce.distances import distances
from mvtrace.reproduce.permutation import (
    Outputs,
    energy,
    least_p,
    permutation_test,
)


def outputs(recorded: list[float], rerun: list[float]) -> Outputs:
    """Return one request with these numbers."""
    return Outputs(distances([*recorded, *rerun], "number"), len(recorded))


def same(sizes: tuple[int, int], requests: int = 1) -> list[Outputs]:
    """Return requests with so many recorded outputs and re-runs, all equal."""
    return [outputs([0.0] * sizes[0], [0.0] * sizes[1]) for _ in range(requests)]


numbers = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=4)


def test_energy_by_hand() -> None:
    """
    0, 2 against 5: twice the mean of 5 and 3, less half of 2, less 0, times 2 · 1 / 3.
    """
    assert energy([outputs([0.0, 2.0], [5.0])]) == pytest.approx((2 * 4 - 1 - 0) * 2 / 3)


def test_energies_of_requests_add() -> None:
    """
    The energy of two requests is the sum of theirs.
    """
    one, other = outputs([0.0], [1.0, 3.0]), outputs([2.0, 2.0], [2.0])

    assert energy([one, other]) == pytest.approx(energy([one]) + energy([other]))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=2))
def test_every_exchange_is_counted(pairs: list[tuple[list[float], list[float]]]) -> None:
    """
    Where exchanges are few the p-value is the share of all of them with as large an energy.
    """
    requests = [outputs(*pair) for pair in pairs]
    observed, every = energy(requests), [0.0]
    for recorded, rerun in pairs:
        pool = recorded + rerun
        here = [
            energy(
                [
                    outputs(
                        [pool[place] for place in chosen],
                        [pool[place] for place in range(len(pool)) if place not in chosen],
                    )
                ]
            )
            for chosen in itertools.combinations(range(len(pool)), len(recorded))
        ]
        every = [before + added for before in every for added in here]

    found = permutation_test(requests)

    assert found.is_exhaustive
    assert found.exchanges == len(every)
    assert found.p == pytest.approx(np.mean([one >= observed - 1e-7 for one in every]))


def test_drawn_exchanges_agree_with_all_of_them() -> None:
    """
    Of 12,870 exchanges, 9,999 that are drawn give the p-value that all have, within its error.
    """
    generator = np.random.default_rng(4)
    recorded, rerun = generator.normal(0, 1, 8).tolist(), generator.normal(0.7, 1, 8).tolist()
    pool = np.array(recorded + rerun)
    apart = distances(pool.tolist(), "number")
    every = [
        Outputs(apart[np.ix_(order, order)], 8)
        for chosen in itertools.combinations(range(16), 8)
        for order in [[*chosen, *(set(range(16)) - set(chosen))]]
    ]
    observed = energy([outputs(recorded, rerun)])
    exact = np.mean([energy([one]) >= observed - 1e-9 for one in every])

    found = permutation_test([outputs(recorded, rerun)], permutations=9_999, seed=1)

    assert not found.is_exhaustive
    assert found.p == pytest.approx(exact, abs=3 * np.sqrt(exact / 10_000))


def test_no_p_value_is_zero() -> None:
    """
    However unlike they are, the p-value is one over the number of exchanges that were looked at.
    """
    found = permutation_test([outputs([0.0] * 10, [9.0] * 10)] * 3, permutations=99)

    assert (found.p, found.exchanges) == (0.01, 100)


def test_equal_outputs_are_no_evidence() -> None:
    """
    Where all outputs are one, every exchange has the observed energy.
    """
    found = permutation_test(same((5, 5), 30))

    assert (found.energy, found.p) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("sizes", "requests", "expected"),
    [((3, 3), 1, 0.1), ((1, 5), 1, 1 / 6), ((4, 4), 1, 2 / 70), ((2, 3), 2, 0.01),
     ((5, 5), 30, 0.001)],
)  # fmt: skip
def test_smallest_p_value_that_could_be(
    sizes: tuple[int, int], requests: int, expected: float
) -> None:
    """
    It is known before any output is looked at: three and three of one request never come below 0.1.
    """
    assert least_p(same(sizes, requests)) == pytest.approx(expected)


def test_smallest_p_value_is_reached() -> None:
    """
    Outputs that lie wholly apart have it.
    """
    apart = [outputs([0.0, 0.1, 0.2], [5.0, 5.1, 5.2, 5.3])]

    assert permutation_test(apart).p == pytest.approx(least_p(apart))


def test_labels_stay_inside_their_request() -> None:
    """
    Requests that differ from one another, in unlike numbers, are no evidence: nothing is exchanged
    between them.
    """
    requests = [outputs([place * 10.0] * 3, [place * 10.0] * (1 + place % 3)) for place in range(9)]

    assert permutation_test(requests).p == 1.0


def test_same_seed_same_p_value() -> None:
    """
    What was drawn can be drawn again.
    """
    generator = np.random.default_rng(2)
    one = [outputs(*generator.normal(0, 1, (2, 9)).tolist()) for _ in range(3)]

    found = [permutation_test(one, seed=seed) for seed in (1, 1, 2)]

    assert found[0] == found[1]
    assert found[0] != found[2]


@settings(deadline=None, max_examples=40)
@given(numbers, numbers)
def test_which_side_was_recorded_does_not_matter(one: list[float], other: list[float]) -> None:
    """
    Swapping records and re-runs changes neither the energy nor the p-value.
    """
    found, turned = (permutation_test([outputs(*pair)]) for pair in ((one, other), (other, one)))

    assert found.energy == pytest.approx(turned.energy)
    assert found.p == pytest.approx(turned.p)


@pytest.mark.parametrize(
    ("size", "recorded", "problem"),
    [
        ((2, 3), 1, "distances have the shape (2, 3): it is no square"),
        ((3, 3), 0, "0 of 3 outputs were recorded: one side is empty"),
        ((3, 3), 3, "3 of 3 outputs were recorded: one side is empty"),
    ],
)
def test_request_without_two_sides(size: tuple[int, int], recorded: int, problem: str) -> None:
    """
    Outputs without a matrix of distances, or of one side alone, are refused.
    """
    with pytest.raises(ValueError) as caught:
        Outputs(np.zeros(size), recorded)

    assert str(caught.value) == problem


def test_nothing_to_test() -> None:
    """
    Without requests, or without permutations, there is no p-value.
    """
    with pytest.raises(ValueError, match="0 requests and 999 permutations: none to test"):
        permutation_test([])
    with pytest.raises(ValueError, match="1 requests and 0 permutations: none to test"):
        permutation_test(same((2, 2)), permutations=0)
