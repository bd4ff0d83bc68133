"""Which edges of the ancestry graph may be stored, so that it never has a cycle. Pure.

In: claims in the order in which they came, each of one child and its parents, and the stored edges
that a cycle through them could use. Out: the problem of those that would close one. First writer
wins: a claim is judged by what came before it.

Law: what is accepted makes no cycle, with what is stored. And since everything stored was accepted
by the same rule, the same claims in the same order get the same answers, whatever part of them is
stored already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

CYCLE: Final = "lineage-cycle"
"""Reason in ``quarantine`` of what would make a thing its own ancestor."""
MAX_STEPS: Final = 2_000_000
"""Edges that are looked at for the claims of one segment that make cycles with one another."""
_SHOWN: Final = 8
_SHORT: Final = 12

Parents = dict[str, set[str]]
"""Child -> parents."""


class Claim(NamedTuple):
    """That *child* was made from *parents*."""

    child: str
    parents: tuple[str, ...]
    is_known: bool = False
    """Whether it was accepted before."""


def judge(claims: Sequence[Claim], stored: Iterable[tuple[str, str]]) -> list[str]:
    """Return the problem of each of *claims*, in their order; empty where it may be stored.

    *stored* are pairs of child and parent: all stored edges below the children of the claims, or
    all above their parents.
    """
    graph: Parents = defaultdict(set)
    for child, parent in stored:
        graph[child].add(parent)
    together: Parents = defaultdict(set, {child: set(above) for child, above in graph.items()})
    for claim in claims:
        together[claim.child].update(claim.parents)
        if claim.is_known:
            graph[claim.child].update(claim.parents)
    tangled = _tangled(together)
    steps = _Steps(MAX_STEPS)
    return [_judged(claim, graph, tangled, steps) for claim in claims]


class _Steps:
    """How much may still be looked at."""

    def __init__(self, left: int) -> None:
        self.left = left


def _judged(claim: Claim, graph: Parents, tangled: set[str], steps: _Steps) -> str:
    """Return why *claim* may not be stored; where it may, put it into *graph*."""
    if not claim.is_known and claim.child in tangled and not tangled.isdisjoint(claim.parents):
        way = _way(tangled.intersection(claim.parents), claim.child, graph, tangled, steps)
        if way:
            return f"{CYCLE}: {_words(way)}"
        if steps.left <= 0:
            return f"{CYCLE}: it stands among very many that make cycles with one another"
    graph[claim.child].update(claim.parents)
    return ""


def _way(
    starts: Iterable[str], goal: str, graph: Parents, tangled: set[str], steps: _Steps
) -> list[str]:
    """Return a way up from one of *starts* to *goal*, both ends included; none within *steps*."""
    ahead = sorted(starts)
    came: dict[str, str] = dict.fromkeys(ahead, "")
    while ahead and steps.left > 0:
        one = ahead.pop()
        if one == goal:
            way = [one]
            while came[way[-1]]:
                way.append(came[way[-1]])
            return way[::-1]
        for parent in sorted(graph.get(one, ())):
            steps.left -= 1
            if parent in tangled and parent not in came:
                came[parent] = one
                ahead.append(parent)
    return []


def _words(way: Sequence[str]) -> str:
    """Return the cycle that a way from a parent up to its child would close."""
    child = _short(way[-1])
    shown = way if len(way) <= _SHOWN else [*way[: _SHOWN - 1], "...", way[-1]]
    return f"{child} cannot be made from {', which was made from '.join(map(_short, shown))}"


def _short(ref: str) -> str:
    kind, colon, digits = ref.partition(":")
    return f"{kind}{colon}{digits[:_SHORT]}"


def _tangled(graph: Parents) -> set[str]:
    """Return the nodes that are on a cycle, or between two; none where there is no cycle."""
    children: Parents = defaultdict(set)
    for child, parents in graph.items():
        for parent in parents:
            children[parent].add(child)
    left = graph.keys() | children.keys()
    for above, below in ((graph, children), (children, graph)):
        left -= _unwound(left, above, below)
    return left


def _unwound(
    nodes: set[str], above: Mapping[str, set[str]], below: Mapping[str, set[str]]
) -> set[str]:
    """Return those of *nodes* from which every way up ends."""
    waiting = {node: len(nodes & above.get(node, set())) for node in nodes}
    free = [node for node, count in waiting.items() if not count]
    found = set(free)
    while free:
        for child in below.get(free.pop(), ()):
            if child in waiting and child not in found:
                waiting[child] -= 1
                if not waiting[child]:
                    found.add(child)
                    free.append(child)
    return found
