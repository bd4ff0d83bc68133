"""Whether two versions differ on the same examples: paired, clustered by groups of examples. Pure.

In: one difference an example (the second version's score less the first's, repeats averaged before)
and the group each example belongs to. Out: the mean difference with its interval, a permutation
check, McNemar's test, and the difference that could have been found. numpy and scipy are needed.

Examples of one group (questions about one document) err together, so the groups are what is
independent. The standard error is the bias-reduced one (CR2) and its degrees of freedom are those
of Bell and McCaffrey (2002), which for groups of one size are the plain clustered error times
sqrt(G / (G - 1)) and G - 1: the estimator that held its level where a t test by example did not.
Unequal groups, where G - 1 would promise too much, get fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

EXACT_GROUPS: Final = 14
"""Up to so many groups every assignment of signs is tried: 2^14."""
FLIPS: Final = 9_999
"""Assignments of signs that are drawn where there are more."""
_NODES: Final = 400
_CHUNK: Final = 2_000_000
_TOLERANCE: Final = 1e-12
_NEARLY: Final = 1e-9
"""Sums that differ by less are ties: the order of an addition must not decide."""

Floats = NDArray[np.float64]
Values = Sequence[float] | Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """The mean difference of *examples* in *groups*, and what is known of it.

    Of one group it cannot be told how uncertain it is: *error*, *interval* and *p* are None. Where
    all groups have one mean, what they scatter by cannot be estimated either, so there is no
    interval; *p* is then that of the exact sign flip: 2 to the power 1 - *groups*, or 1 where the
    mean is zero.
    """

    examples: int
    groups: int
    difference: float
    error: float | None
    """The standard error."""
    freedom: float | None
    """Degrees of freedom of the t distribution."""
    interval: tuple[float, float] | None
    p: float | None
    """Two-sided, of no difference."""


def paired_difference(
    differences: Values, groups: Sequence[object], *, alpha: float = 0.05
) -> PairedDifference:
    """Return the mean of *differences* with its 1 - *alpha* interval, clustered by *groups*."""
    values = np.asarray(differences, dtype=np.float64)
    sums, sizes = group_sums(values, groups)
    mean = float(values.mean())
    found: dict[str, Any] = {
        "examples": len(values),
        "groups": len(sizes),
        "difference": mean,
        "error": None,
        "freedom": None,
        "interval": None,
        "p": None,
    }
    shares = sizes / sizes.sum()
    if len(sizes) > 1:
        residuals = sums - sizes * mean
        variance = float((residuals**2 / (1.0 - shares)).sum()) / len(values) ** 2
        if variance > _TOLERANCE**2 * max(1.0, mean**2):
            error = float(np.sqrt(variance))
            freedom = _freedom(shares)
            half = float(stats.t.ppf(1 - alpha / 2, freedom)) * error
            found |= {
                "error": error,
                "freedom": freedom,
                "interval": (mean - half, mean + half),
                "p": float(2 * stats.t.sf(abs(mean) / error, freedom)),
            }
        else:
            found["p"] = _same_everywhere(mean, len(sizes))
    return PairedDifference(**found)


def group_sums(values: Floats, groups: Sequence[object]) -> tuple[Floats, Floats]:
    """Return the sum and the size of each group, in the order in which they first come."""
    places: dict[object, int] = {}
    index = np.fromiter(
        (places.setdefault(one, len(places)) for one in groups), dtype=np.intp, count=len(values)
    )
    sums = np.bincount(index, weights=values, minlength=len(places)).astype(np.float64)
    return sums, np.bincount(index, minlength=len(places)).astype(np.float64)


def sign_flip(differences: Values, groups: Sequence[object], *, seed: int = 0) -> float:
    """Return the p-value of no difference, when the sign of each group's sum is a coin's.

    Exact up to EXACT_GROUPS groups that are not zero; else FLIPS assignments are drawn, and the
    observed one is counted among them, so that the p-value is never below 1 / (FLIPS + 1).
    """
    sums, _ = group_sums(np.asarray(differences, dtype=np.float64), groups)
    sums = sums[np.abs(sums) > _TOLERANCE]
    if not len(sums):
        return 1.0
    least = abs(float(sums.sum())) * (1 - _NEARLY) - _TOLERANCE
    if len(sums) <= EXACT_GROUPS:
        bits = (np.arange(1 << len(sums))[:, None] >> np.arange(len(sums))) & 1
        return float(np.mean(np.abs((2 * bits - 1) @ sums) >= least))
    generator = np.random.default_rng(seed)
    found, left = 0, FLIPS
    while left:
        number = min(left, max(1, _CHUNK // len(sums)))
        signs = generator.integers(0, 2, size=(number, len(sums)), dtype=np.int8)
        found += int(np.count_nonzero(np.abs((2.0 * signs - 1.0) @ sums) >= least))
        left -= number
    return (1 + found) / (FLIPS + 1)


def mcnemar(first: Values, second: Values) -> tuple[int, int, float]:
    """Return how many only *first* has right, how many only *second*, and the exact p-value.

    Both hold one 0 or 1 an example. Groups are not known to it.
    """
    one, two = np.asarray(first), np.asarray(second)
    lost, won = int(np.sum((one == 1) & (two == 0))), int(np.sum((one == 0) & (two == 1)))
    if not lost + won:
        return lost, won, 1.0
    return lost, won, float(stats.binomtest(lost, lost + won, 0.5).pvalue)


def detectable(error: float, freedom: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the true difference that a test with this *error* finds in *power* of all cases."""
    critical = float(stats.t.ppf(1 - alpha / 2, freedom))

    # The noncentral t's tails, averaged over the error's own distribution: scipy's function for
    # them has no answer where there are very few groups.
    nodes, weights = _nodes()
    errors = np.sqrt(stats.chi2.ppf((nodes + 1) / 2, freedom) / freedom) * critical

    def missing(size: float) -> float:
        found = stats.norm.cdf(size - errors) + stats.norm.cdf(-size - errors)
        return float(weights @ found / 2) - power

    high = 2 * (critical + float(stats.t.ppf(power, freedom)) + 1)
    return float(optimize.brentq(missing, 0.0, high) * error)


@cache
def _nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the places and weights of the integral; to find them takes longer than all else."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights


def unlike_at_most(groups: int, *, alpha: float = 0.05) -> float:
    """Return the largest share of unlike groups that *groups*, all alike, leave possible.

    Clopper and Pearson's upper bound for none of so many: about 3 / *groups*.
    """
    return 1.0 - float(alpha ** (1.0 / groups))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return *p_values* adjusted for one another after Holm (1979), in their order."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    ordered = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for rank, place in enumerate(ordered):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def _same_everywhere(mean: float, groups: int) -> float:
    """Return the p-value of the exact sign flip where every group has the same mean.

    Of all 2^G assignments two are as far from zero: none flipped, and all. It is never told as 0.
    """
    if abs(mean) <= _TOLERANCE:
        return 1.0
    return max(2.0 ** (1 - groups), float(np.finfo(np.float64).tiny))


def _freedom(shares: Floats) -> float:
    """Return Bell and McCaffrey's degrees of freedom for the mean of groups of these *shares*.

    (trace M)² / trace M² of the matrix with p_g on its diagonal and, off it,
    -p_g p_h / sqrt((1 - p_g)(1 - p_h)).
    """
    beside = shares**2 / (1.0 - shares)
    inverse = float((shares**2).sum() + beside.sum() ** 2 - (beside**2).sum())
    return 1.0 / inverse


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two versions on one test: the second's scores less the first's."""

    first: float
    """The first version's mean over the paired examples."""
    second: float
    difference: PairedDifference
    flip: float | None
    """The sign-flip check; None where there are MANY_GROUPS groups or more."""
    mcnemar: tuple[int, int, float] | None
    """Of single right-or-wrong answers: lost, won, p."""
    detectable: float | None
    """The true difference that such a comparison finds in 8 of 10 cases."""
    alike: float | None
    """Where no two scores differ: the largest share of groups that may all the same."""


MANY_GROUPS: Final = 30
"""From so many on the t interval needs no check."""


def compare(
    first: Values,
    second: Values,
    groups: Sequence[object],
    *,
    is_single: bool = False,
    alpha: float = 0.05,
) -> Comparison:
    """Return the comparison of paired scores; *is_single* says that no score is a mean of several.

    Raises:
        ValueError: there are no pairs.
    """
    if not len(first) or len(first) != len(second) or len(first) != len(groups):
        raise ValueError("there are no pairs")
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    found = paired_difference(two - one, groups, alpha=alpha)
    is_binary = is_single and bool(np.isin(one, (0, 1)).all() and np.isin(two, (0, 1)).all())
    size = None
    if found.error is not None and found.freedom is not None:
        size = detectable(found.error, found.freedom, alpha=alpha)
    return Comparison(
        first=float(one.mean()),
        second=float(two.mean()),
        difference=found,
        flip=sign_flip(two - one, groups) if found.groups < MANY_GROUPS else None,
        mcnemar=mcnemar(one, two) if is_binary else None,
        detectable=size,
        alike=None if np.any(one != two) else unlike_at_most(found.groups, alpha=alpha),
    )
