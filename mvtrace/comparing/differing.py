"""What differs between the scorers of one metric: the words behind a gate that failed.

In: a verdict, and the registry. Out: sentences. Scores compare only on the same test, so two
scorers are never one metric; whoever sees that wants to know which line of which prompt it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

from mvtrace.quality.gates import FAIL
from mvtrace.quality.sufficient import RolledUp
from mvtrace.quality.verdict import Verdict
from mvtrace.registry.entries import Entry
from mvtrace.registry.evals.refusing import differences
from mvtrace.registry.reading import Ask, entries

_SCORER: Final = "scorer"
_DIGEST: Final = "sha256:"
_GATE: Final = "scorer of "
_SHORT: Final = 12
_MOST: Final = 8


def differences_of(ask: Ask, verdict: Verdict, found: RolledUp) -> list[str]:
    """Return, by metric that more than one scorer scored, in what they differ."""
    said = []
    for gate in verdict.gates:
        if gate.state != FAIL or not gate.name.startswith(_GATE):
            continue
        metric = next(
            (one for one in verdict.plan.metrics if f"{_GATE}{one.name}" == gate.name), None
        )
        if metric is not None:
            scorers = sorted(found.scorers.get(verdict.plan.source_of(metric), ()))
            said += [f"{metric.name}: {one}" for one in _between(ask, scorers)]
    return said


def _between(ask: Ask, scorers: Sequence[str]) -> Iterable[str]:
    known = entries(ask, _SCORER, [one for one in scorers if one.startswith(_DIGEST)])
    for first, second in pairwise(scorers):
        yield from _pair(_short(first), _short(second), known.get(first), known.get(second))


def _pair(first: str, second: str, one: Entry | None, other: Entry | None) -> Iterable[str]:
    if one is None or other is None:
        lacking = [name for name, said in ((first, one), (second, other)) if said is None]
        yield f"{first} and {second} are two scorers; {' and '.join(lacking)} nobody registered"
        return
    lines = differences(_compared(one), _compared(other))
    for path, left, right in lines[:_MOST]:
        yield f"{first} and {second} differ in {path}: {left}, not {right}"
    if lines[_MOST:]:
        yield f"{first} and {second} differ in {len(lines) - _MOST} more places"


def _compared(entry: Entry) -> dict[str, Any]:
    return {key: value for key, value in entry.said.items() if key != "schema_version"}


def _short(scorer: str) -> str:
    digits = scorer.removeprefix(_DIGEST)
    return digits[:_SHORT] if digits != scorer else scorer
