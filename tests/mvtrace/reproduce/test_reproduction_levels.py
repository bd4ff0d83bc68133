"""The level of the permutation test by simulation, its power, and what breaks it."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest
from canaries import at_most

from mvtrace.reproduce.distances import distances
from mvtrace.reproduce.permutation import Outputs, energy, permutation_test
from mvtrace.reproduce.reproducing import Family, reproduced

pytestmark = pytest.mark.statistics

RUNS = max(1000, int(os.environ.get("MVTRACE_TEST_RUNS", "2000")) // 2)
ALPHA, PERMUTATIONS, DIMENSIONS = 0.05, 199, 16
DESIGNS = [(1, 20, 20), (30, 5, 5), (30, 1, 5), (3, 3, 3)]
"""Requests, recorded outputs of each, re-runs of each."""


class System:
    """A sampling system: each request has three modes of answers, somewhere in 16 dimensions."""

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)

    def answers(
        self, centres: np.ndarray, number: int, *, first: float = 0.6, drift: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return modes and embeddings; *first* is the share of the first mode."""
        modes = self._draw.choice(3, number, p=[first, 0.9 - first, 0.1])
        noise = self._draw.standard_normal((number, DIMENSIONS))
        return modes, centres[modes] + 0.5 * noise + drift

    def request(self, recorded: int, rerun: int, **changed: float) -> tuple[list, list, list, list]:
        """Return one request's modes and embeddings, recorded and run again."""
        centres = self._draw.standard_normal((3, DIMENSIONS))
        before = self.answers(centres, recorded)
        after = self.answers(centres, rerun, **changed)
        return [*before[0]], [*after[0]], [*before[1]], [*after[1]]


def rejected(
    test: Callable[[list[Outputs], int], float],
    design: tuple[int, int, int],
    runs: int,
    **changed: float,
) -> float:
    """Return how often *test* rejects re-runs of a system that *changed*."""
    number, recorded, rerun = design
    system, found = System(61), 0
    for run in range(runs):
        requests = []
        for _ in range(number):
            _, _, before, after = system.request(recorded, rerun, **changed)
            requests.append(Outputs(distances([*before, *after], "vector"), recorded))
        found += test(requests, run) <= ALPHA
    return found / runs


def ours(requests: list[Outputs], seed: int) -> float:
    """Our own p-value."""
    return permutation_test(requests, permutations=PERMUTATIONS, seed=seed).p


@pytest.mark.parametrize("design", DESIGNS)
def test_equal_outputs_are_seldom_called_unlike(design: tuple[int, int, int]) -> None:
    """
    Re-runs of the same system are called unlike in at most alpha of all runs, in every design.
    """
    runs = RUNS if design[0] * sum(design[1:]) <= 40 else RUNS // 2
    found = rejected(ours, design, runs)
    print(f"type I, {design}: {found:.2%}")

    assert found <= at_most(ALPHA, runs)


def test_families_share_one_chance_of_error() -> None:
    """
    Of three families of the same outputs, corrected after Holm, any differs in at most alpha.
    """
    runs, system, found = max(50, RUNS // 5), System(62), 0
    for run in range(runs):
        told = [system.request(5, 5) for _ in range(10)]
        families = [
            Family(name="mode", kind="category", recorded=[one[0] for one in told],
                   rerun=[one[1] for one in told]),
            Family(name="embedding", kind="vector", recorded=[one[2] for one in told],
                   rerun=[one[3] for one in told]),
            Family(name="first", kind="number", recorded=[[row[0] for row in one[2]] for one in told],
                   rerun=[[row[0] for row in one[3]] for one in told]),
        ]  # fmt: skip
        found += reproduced(families, permutations=PERMUTATIONS, seed=3 * run).outcome == "mismatch"
    print(f"three families: {found / runs:.2%}")

    assert found / runs <= at_most(ALPHA, runs)


@pytest.mark.parametrize(
    ("changed", "least"), [({"first": 0.2}, 0.9), ({"drift": 0.5}, 0.9), ({"first": 0.4}, 0.2)]
)
def test_what_changed_is_found(changed: dict[str, float], least: float) -> None:
    """
    Five and five outputs of thirty requests show a large shift of modes and a drift of embeddings
    nearly always, a shift of twenty points in many cases.
    """
    found = rejected(ours, (30, 5, 5), max(40, RUNS // 20), **changed)
    print(f"power, 30 requests of 5 and 5, {changed}: {found:.2%}")

    assert found >= least


def test_exchanging_between_requests_breaks_the_level() -> None:
    """
    Negative control: labels exchanged between requests of unlike numbers flag most equal re-runs.
    """
    system, ours_found, found, runs = System(63), 0, 0, max(40, RUNS // 20)
    for run in range(runs):
        sizes = [(1, 9), (9, 1)] * 2
        told = [system.request(*one) for one in sizes]
        inside = [
            Outputs(distances([*one[2], *one[3]], "vector"), size[0])
            for one, size in zip(told, sizes, strict=True)
        ]
        # The same outputs as if they were those of one request.
        pooled = [
            Outputs(
                distances(
                    [row for one in told for row in one[2]]
                    + [row for one in told for row in one[3]],
                    "vector",
                ),
                sum(size[0] for size in sizes),
            )
        ]
        ours_found += ours(inside, run) <= ALPHA
        found += ours(pooled, run) <= ALPHA
    print(f"exchanged between requests {found / runs:.2%}, inside {ours_found / runs:.2%}")

    assert found / runs > 0.5
    assert ours_found / runs <= at_most(ALPHA, runs)


def test_a_p_value_that_may_be_zero_breaks_the_level() -> None:
    """
    Negative control: the share of drawn exchanges alone, without the observed one, rejects too often.
    """
    few = 20

    def careless(requests: list[Outputs], seed: int) -> float:
        found = permutation_test(requests, permutations=few, seed=seed)
        return (found.p * (few + 1) - 1) / few

    def counted(requests: list[Outputs], seed: int) -> float:
        return permutation_test(requests, permutations=few, seed=seed).p

    runs = RUNS
    found = rejected(careless, (1, 20, 20), runs)
    right = rejected(counted, (1, 20, 20), runs)
    print(f"without the observed one {found:.2%}, with it {right:.2%}")

    assert found > 0.08 - 3 * np.sqrt(0.09 / runs)
    assert found > right
    assert right <= at_most(ALPHA, runs)


def test_statistic_grows_with_the_change() -> None:
    """
    The energy of a drift grows with it, on the same outputs.
    """
    sizes = [
        energy(
            [
                Outputs(distances([*one[2], *one[3]], "vector"), 5)
                for one in [System(64).request(5, 5, drift=drift)]
            ]
        )
        for drift in (0.0, 1.0, 2.0)
    ]

    assert sizes == sorted(sizes)
