"""Does what was run again behave as what was recorded: mismatch, match or inconclusive. Pure.

In: golden requests with their recorded and re-run outputs, as families of features; or pairs of a
state that was declared deterministic. Out: ``Reproduction``. "Not rejected" is never "match": a
match needs an upper bound below a tolerance that was declared, and such a bound is known here for
byte equality alone. Equal distributions of a sampling system are therefore told as inconclusive,
with what could have been seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mvtrace.reproduce.distances import distances
from mvtrace.reproduce.permutation import (
    PERMUTATIONS,
    Found,
    Outputs,
    least_p,
    permutation_test,
)

MATCH: Final = "match"
MISMATCH: Final = "mismatch"
INCONCLUSIVE: Final = "inconclusive"
_STEPS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One feature of the outputs: by request the recorded values, and those of the re-runs."""

    name: str
    kind: str
    recorded: Sequence[Sequence[Any]]
    rerun: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyResult:
    """One family; without a p-value where no outputs in these numbers could tell anything."""

    name: str
    requests: int
    recorded: int
    rerun: int
    """Outputs of all requests."""
    energy: float | None
    p: float | None
    adjusted: float | None
    """After Holm (1979), for all families together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What a re-run came to; *sentence* says it with its figures."""

    outcome: str
    reason: str
    sentence: str
    families: tuple[FamilyResult, ...] = ()
    bound: float | None = None
    """The largest mismatch rate that the pairs leave possible, with confidence 1 - alpha."""


def reproduced(
    families: Sequence[Family],
    *,
    alpha: float = 0.05,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Reproduction:
    """Return whether any of *families* was seen to differ: mismatch, else inconclusive.

    Raises:
        ValueError: there are no families or two of one name, a request has outputs on one side
            alone, or outputs that have no distance.
    """
    names = [one.name for one in families]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"families are named {', '.join(map(repr, names)) or 'nothing'}")
    outputs = {one.name: _outputs_of(one) for one in families}
    reach = min(least_p(requests, permutations=permutations) for requests in outputs.values())
    if reach * len(families) > alpha:
        return _refused(outputs, reach * len(families), alpha)
    found = [
        permutation_test(requests, permutations=permutations, seed=seed + place)
        for place, requests in enumerate(outputs.values())
    ]
    adjusted = holm([one.p for one in found])
    results = tuple(
        _result(name, requests, one, level)
        for (name, requests), one, level in zip(outputs.items(), found, adjusted, strict=True)
    )
    return _judged(results, alpha)


def equal_bytes(
    pairs: Sequence[tuple[str, str]], *, tolerance: float, alpha: float = 0.05
) -> Reproduction:
    """Return whether a state declared deterministic gives equal outputs; *pairs* are digests.

    Each pair counts as drawn by itself, so one request asked twice tells less than two of them.

    Raises:
        ValueError: there are no pairs, or *tolerance* is not between 0 and 1.
    """
    if not pairs or not 0 < tolerance < 1:
        raise ValueError(f"{len(pairs)} pairs and a tolerance of {tolerance}: nothing to say")
    unlike = sum(one != other for one, other in pairs)
    bound = upper_bound(unlike, len(pairs), alpha=alpha)
    said = f"{unlike} of {len(pairs)} outputs differ; at most {bound:.3g} of all may"
    if unlike:
        return Reproduction(
            outcome=MISMATCH, reason="differs", sentence=f"Mismatch: {said}.", bound=bound
        )
    if bound <= tolerance:
        return Reproduction(
            outcome=MATCH,
            reason="bounded",
            sentence=f"Match: {said}, and {tolerance:g} was declared.",
            bound=bound,
        )
    return Reproduction(
        outcome=INCONCLUSIVE,
        reason="too_few",
        sentence=f"Inconclusive: {said}, but {tolerance:g} was declared.",
        bound=bound,
    )


def upper_bound(unlike: int, pairs: int, *, alpha: float = 0.05) -> float:
    """Return Clopper and Pearson's (1934) upper bound, one-sided; about 3 / *pairs* of none."""
    if unlike >= pairs:
        return 1.0
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, pairs + 1)))])
    k = np.arange(unlike + 1)
    ways = factorials[pairs] - factorials[k] - factorials[pairs - k]
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if not 0.0 < middle < 1.0:
            break
        logs = ways + k * math.log(middle) + (pairs - k) * math.log1p(-middle)
        if float(np.exp(logs).sum()) > alpha:
            low = middle
        else:
            high = middle
    return high


def holm(p_values: Sequence[float]) -> list[float]:
    """Return *p_values* adjusted for one another (Holm 1979), in their order."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return [float(one) for one in adjusted]


def _outputs_of(family: Family) -> list[Outputs]:
    pairs = zip(family.recorded, family.rerun, strict=True)
    return [
        Outputs(distances([*recorded, *rerun], family.kind), len(recorded))
        for recorded, rerun in pairs
    ]


def _refused(outputs: Mapping[str, list[Outputs]], reach: float, alpha: float) -> Reproduction:
    results = tuple(_result(name, requests, None, None) for name, requests in outputs.items())
    return Reproduction(
        outcome=INCONCLUSIVE,
        reason="too_few",
        sentence=(
            f"Inconclusive: outputs in these numbers cannot have a p-value below {reach:.3g}, "
            f"and {alpha:g} was asked for; record 5 outputs of 30 requests or more."
        ),
        families=results,
    )


def _judged(results: tuple[FamilyResult, ...], alpha: float) -> Reproduction:
    unlike = [one for one in results if one.adjusted is not None and one.adjusted <= alpha]
    if unlike:
        shown = ", ".join(f"{one.name} (p = {one.adjusted:.3g})" for one in unlike)
        return Reproduction(
            outcome=MISMATCH,
            reason="differs",
            sentence=f"Mismatch: outputs run again differ from those recorded in {shown}.",
            families=results,
        )
    least = min(one.adjusted for one in results if one.adjusted is not None)
    return Reproduction(
        outcome=INCONCLUSIVE,
        reason="not_rejected",
        sentence=(
            f"Inconclusive: no difference was seen (p = {least:.3g}), which proves none; "
            f"{results[0].requests} requests were compared."
        ),
        families=results,
    )


def _result(
    name: str, requests: Sequence[Outputs], found: Found | None, adjusted: float | None
) -> FamilyResult:
    return FamilyResult(
        name=name,
        requests=len(requests),
        recorded=sum(one.recorded for one in requests),
        rerun=sum(one.rerun for one in requests),
        energy=None if found is None else found.energy,
        p=None if found is None else found.p,
        adjusted=adjusted,
    )
