"""The permutation test inside requests: are re-runs and records exchangeable? Pure; numpy alone.

In: for each request the distances between its outputs, of which the first were recorded and the
others are re-runs. Out: the energy summed over requests, and its p-value. Labels are exchanged
*inside* each request alone, so that nothing is asked of how requests differ from one another, and
the level is alpha exactly, at any size and for any outputs, as long as the outputs of one request
are independent.

The energy of one request is 2 mean d(x, y) - mean d(x, x') - mean d(y, y'), times n m / (n + m)
(Székely and Rizzo 2013). Where all exchanges are few they are all looked at; else PERMUTATIONS are
drawn, the observed one counts among them, and so no p-value is ever 0 (Phipson and Smyth 2010).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERMUTATIONS: Final = 999
EXACT: Final = 10_000
"""Up to so many exchanges of all requests together every one is looked at."""
_NEARLY: Final = 1e-9
"""Energies that differ by less are ties: the order of an addition must not decide."""
_CHUNK: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of one request: distances between all pairs, the recorded ones first."""

    distances: Floats
    recorded: int

    def __post_init__(self) -> None:
        rows = self.distances.shape
        if len(rows) != 2 or rows[0] != rows[1]:  # noqa: PLR2004 (a matrix)
            raise ValueError(f"distances have the shape {rows}: it is no square")
        if not 0 < self.recorded < rows[0]:
            raise ValueError(
                f"{self.recorded} of {rows[0]} outputs were recorded: one side is empty"
            )

    @property
    def rerun(self) -> int:
        """How many were run again."""
        return len(self.distances) - self.recorded

    @property
    def labels(self) -> Floats:
        """By output what the energy weighs it with: 1/n of the recorded, -1/m of the re-runs."""
        return np.concatenate(
            [np.full(self.recorded, 1 / self.recorded), np.full(self.rerun, -1 / self.rerun)]
        )

    @property
    def exchanges(self) -> int:
        """In how many ways the labels may lie."""
        return math.comb(len(self.distances), self.recorded)

    def energy_of(self, labels: Floats) -> Floats:
        """Return the energy for each row of *labels*."""
        size = self.recorded * self.rerun / len(self.distances)
        found: Floats = -size * ((labels @ self.distances) * labels).sum(axis=-1)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the test came to."""

    energy: float
    p: float
    exchanges: int
    """How many were looked at, the observed one among them."""
    is_exhaustive: bool


def energy(requests: Sequence[Outputs]) -> float:
    """Return the energy, summed over *requests*."""
    return float(sum(one.energy_of(one.labels) for one in requests))


def least_p(requests: Sequence[Outputs], *, permutations: int = PERMUTATIONS) -> float:
    """Return the smallest p-value that outputs in these numbers could have, were they all unlike.

    Of as many re-runs as records the exchange of both sides has the same energy, so the most unlike
    case is there twice. 0.1 of one request with three and three outputs: nothing can be claimed.
    """
    log_p = 0.0
    for one in requests:
        ties = 2 if one.recorded == one.rerun else 1
        log_p += math.log(ties) - math.log(one.exchanges)
    reached = math.exp(log_p)
    return reached if _is_exhaustive(requests) else max(reached, 1 / (permutations + 1))


def permutation_test(
    requests: Sequence[Outputs], *, permutations: int = PERMUTATIONS, seed: int = 0
) -> Found:
    """Return the energy of *requests* and the p-value of "re-runs are as the records were".

    Raises:
        ValueError: there are no requests, or no permutations.
    """
    if not requests or permutations < 1:
        raise ValueError(f"{len(requests)} requests and {permutations} permutations: none to test")
    observed = energy(requests)
    least = observed - _NEARLY * max(1.0, abs(observed))
    if _is_exhaustive(requests):
        every = _every_energy(requests)
        return Found(
            energy=observed,
            p=float(np.mean(every >= least)),
            exchanges=len(every),
            is_exhaustive=True,
        )
    generator = np.random.default_rng(seed)
    drawn = np.zeros(permutations)
    for one in requests:
        drawn += _drawn_energies(one, permutations, generator)
    above = int(np.count_nonzero(drawn >= least))
    return Found(
        energy=observed,
        p=(above + 1) / (permutations + 1),
        exchanges=permutations + 1,
        is_exhaustive=False,
    )


def _is_exhaustive(requests: Sequence[Outputs]) -> bool:
    total = 1
    for one in requests:
        total *= one.exchanges
        if total > EXACT:
            return False
    return True


def _every_energy(requests: Sequence[Outputs]) -> Floats:
    """Return the energy of every exchange of all requests."""
    total = np.zeros(1)
    for one in requests:
        chosen = np.array(list(combinations(range(len(one.distances)), one.recorded)))
        labels = np.full((len(chosen), len(one.distances)), -1 / one.rerun)
        np.put_along_axis(labels, chosen, 1 / one.recorded, axis=1)
        total = (total[:, None] + one.energy_of(labels)[None, :]).ravel()
    return total


def _drawn_energies(one: Outputs, number: int, generator: np.random.Generator) -> Floats:
    """Return the energies of *number* exchanges of one request, drawn with replacement."""
    found = np.empty(number)
    step = max(1, _CHUNK // len(one.distances))
    for first in range(0, number, step):
        rows = min(step, number - first)
        labels = generator.permuted(np.tile(one.labels, (rows, 1)), axis=1)
        found[first : first + rows] = one.energy_of(labels)
    return found
