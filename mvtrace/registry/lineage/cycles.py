"""What would close a cycle, seen before it is sent. The collector looks again when it stores it.

In: an Ask and a derivation. Out: nothing, or an error with the way that leads back to the child.
"""

from __future__ import annotations

from typing import Final

from mvtrace.registry.entries import Entry
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.lineage.derivations import KIND, edges_of
from mvtrace.registry.lineage.merging import short
from mvtrace.registry.lineage.walking import Graph, walk
from mvtrace.registry.reading import Ask
from mvtrace.registry.refs import Ref

MAX_LOOKED_AT: Final = 20_000
"""Things that were made from the child; where there are more, the collector alone decides."""
_SHOWN: Final = 8


def refuse_cycle(ask: Ask, entry: Entry) -> None:
    """Return if *entry*, a derivation, closes no cycle with what is stored.

    Raises:
        RegistryError: it does.
    """
    edges = edges_of(entry)
    below = walk(ask, edges[0].child, direction="down", max_nodes=MAX_LOOKED_AT)
    for edge in edges:
        if edge.parent in below.depths:
            way = way_to(below, edge.parent)
            shown = way if len(way) <= _SHOWN else [*way[: _SHOWN - 1], way[-1]]
            raise RegistryError(
                KIND,
                f"{short(edge.child)} cannot be made from "
                f"{', which was made from '.join(map(short, shown))}.",
                hint="What was made earlier does not come from what was made later: "
                "check which is the child.",
            )


def way_to(graph: Graph, goal: Ref) -> list[Ref]:
    """Return the shortest way from *goal* up to the start of *graph*, a walk down."""
    parents: dict[Ref, Ref] = {}
    for edge in graph.edges:
        if graph.depths[edge.parent] < graph.depths[edge.child]:
            parents.setdefault(edge.child, edge.parent)
    way = [goal]
    while way[-1] != graph.start:
        way.append(parents[way[-1]])
    return way
