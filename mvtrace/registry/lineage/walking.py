"""Walk the ancestry graph: up to what something was made from, down to what was made from it.

In: an Ask and a ref. Out: the nodes that are reached, nearest first, and the edges between them.
One statement a level, each of few granules; how far a walk goes is bounded, and a walk that was
ended says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

from mvtrace.registry.reading import Ask, statement
from mvtrace.registry.refs import Ref

Direction = Literal["up", "down"]
MAX_DEPTH: Final = 64
MAX_NODES: Final = 2_000
"""What a person can read, and a terminal hold."""
MAX_EDGES: Final = 20_000
_NODES_AT_ONCE: Final = 1_000
_FEW: Final = 64
"""Nodes of which the next step is asked for as well."""
_AHEAD: Final = 2_000
"""Edges that are looked at ahead."""


class Edge(NamedTuple):
    """*child* was made from *parent*, its *role*."""

    child: Ref
    parent: Ref
    role: str
    source: str = ""
    """Digest of the derivation that says so; empty where digests prove it."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "child": str(self.child),
            "parent": str(self.parent),
            "role": self.role,
            "source": self.source or None,
        }


@dataclass(frozen=True)
class Graph:
    """What a walk from *start* reached."""

    start: Ref
    direction: Direction
    depths: Mapping[Ref, int]
    """Each node with the fewest steps that lead to it, nearest first; the start itself is 0."""
    edges: tuple[Edge, ...] = field(repr=False)
    cut: str = ""
    """Why there may be more: ``depth``, ``nodes`` or ``edges``; empty where this is all."""

    @property
    def nodes(self) -> tuple[Ref, ...]:
        """All nodes, the start first."""
        return tuple(self.depths)

    def of_kind(self, kind: str) -> tuple[Ref, ...]:
        """Return the nodes of one kind, nearest first."""
        return tuple(ref for ref in self.depths if ref.kind == kind)

    def next_to(self, ref: Ref) -> tuple[Edge, ...]:
        """Return the edges that lead on from *ref* in the direction of the walk, by role."""
        return self._onward.get(ref, ())

    @cached_property
    def _onward(self) -> dict[Ref, tuple[Edge, ...]]:
        onward: dict[Ref, list[Edge]] = {}
        for edge in self.edges:
            onward.setdefault(near_end(edge, self.direction), []).append(edge)
        return {
            ref: tuple(sorted(edges, key=lambda one: (one.role, far_end(one, self.direction))))
            for ref, edges in onward.items()
        }


def near_end(edge: Edge, direction: Direction) -> Ref:
    """Return the end of *edge* that a walk comes from."""
    return edge.child if direction == "up" else edge.parent


def far_end(edge: Edge, direction: Direction) -> Ref:
    """Return the end of *edge* that a walk leads to."""
    return edge.parent if direction == "up" else edge.child


class Limits(NamedTuple):
    """How far a walk goes, and over what."""

    depth: int = MAX_DEPTH
    nodes: int = MAX_NODES
    """The start counts too."""
    kinds: frozenset[str] | None = None
    """Kinds of nodes that are shown and gone on from; None: all."""
    leaves: frozenset[str] = frozenset()
    """Roles whose far ends are shown, and not gone on from."""
    without: frozenset[str] = frozenset()
    """Roles whose edges are passed over."""


def walk(  # noqa: PLR0913 (each bounds something else)
    ask: Ask,
    start: Ref,
    *,
    direction: Direction,
    kinds: Collection[str] | None = None,
    max_depth: int = MAX_DEPTH,
    max_nodes: int = MAX_NODES,
    leaves: Collection[str] = (),
    without: Collection[str] = (),
) -> Graph:
    """Return what is reached from *start*; what the rest means, Limits says.

    A thing nobody knows reaches nothing.
    """
    limits = Limits(
        max_depth,
        max_nodes,
        None if kinds is None else frozenset(kinds),
        frozenset(leaves),
        frozenset(without),
    )
    return _Walk(ask, start, direction, limits).done()


class _Walk:
    """A walk on its way."""

    def __init__(self, ask: Ask, start: Ref, direction: Direction, limits: Limits) -> None:
        self._ask = ask
        self._start = start
        self._direction = direction
        self._limits = limits
        self._depths: dict[Ref, int] = {start: 0}
        self._edges: dict[Edge, None] = {}
        self._gone_on: set[Ref] = {start}
        self._level = [start]
        self._known: dict[Ref, list[Edge]] = {}
        """The edges of nodes that were asked for, also ahead of the walk."""
        self._cut = ""

    def done(self) -> Graph:
        """Walk, and return what was reached."""
        for depth in range(1, self._limits.depth + 1):
            if not self._level or self._cut:
                break
            found, is_cut = self._step(MAX_EDGES - len(self._edges))
            self._cut = "edges" if is_cut else ""
            self._level = [ref for edge in found if (ref := self._taken(edge, depth))]
        if self._level and not self._cut and self._step(0)[1]:
            self._cut = "depth"
        return Graph(self._start, self._direction, self._depths, tuple(self._edges), self._cut)

    def _taken(self, edge: Edge, depth: int) -> Ref | None:
        """Take an edge in; return its far end, if the walk goes on from there."""
        ref = far_end(edge, self._direction)
        kinds = self._limits.kinds
        if edge.role in self._limits.without or (kinds is not None and ref.kind not in kinds):
            return None
        if ref not in self._depths:
            if len(self._depths) >= self._limits.nodes:
                self._cut = "nodes"
                return None
            self._depths[ref] = depth
        self._edges[edge] = None
        if edge.role in self._limits.leaves or ref in self._gone_on:
            return None
        self._gone_on.add(ref)
        return ref

    def _step(self, most: int) -> tuple[list[Edge], bool]:
        """Return at most *most* edges of the nodes of this level, and whether there are more."""
        found: list[Edge] = []
        for first in range(0, len(self._level), _NODES_AT_ONCE):
            part = self._level[first : first + _NODES_AT_ONCE]
            is_cut = self._fetch(
                [ref for ref in part if ref not in self._known], most - len(found) + 1
            )
            found.extend(edge for ref in part for edge in self._known.get(ref, ()))
            if is_cut or len(found) > most:
                return found[:most], True
        return found, False

    def _fetch(self, nodes: list[Ref], limit: int) -> bool:
        """Learn the edges of *nodes*, with those of few the next ones too; whether some are left.

        A look ahead costs less than another statement; where it sees too much, it is not used.
        """
        if not nodes:
            return False
        asked = {"nodes": [str(ref) for ref in nodes], "direction": self._direction}
        if len(nodes) <= _FEW:
            rows = self._ask(statement("lineage_levels"), {**asked, "limit": _AHEAD})
            if len(rows) < _AHEAD:
                self._learn(nodes, rows)
                ahead = {far_end(one, self._direction) for ref in nodes for one in self._known[ref]}
                for ref in ahead:
                    self._known.setdefault(ref, [])
                return False
        rows = self._ask(statement("lineage_level"), {**asked, "limit": limit})
        self._learn(nodes, rows)
        return len(rows) == limit

    def _learn(self, nodes: list[Ref], rows: list[dict[str, Any]]) -> None:
        edges: dict[Ref, list[Edge]] = {ref: [] for ref in nodes}
        for edge in _edges(rows, self._direction):
            edges.setdefault(near_end(edge, self._direction), []).append(edge)
        self._known.update(edges)


def _edges(rows: list[dict[str, Any]], direction: Direction) -> Iterator[Edge]:
    """Yield each edge once, in order; of what digests prove no derivation is named."""
    sources: dict[tuple[str, str, str], str] = {}
    for row in rows:
        key = (row["node"], row["other"], row["role"])
        sources[key] = min(row["source"], sources.get(key, row["source"]))
    for (node, other, role), source in sorted(sources.items()):
        near, far = Ref.parse(node), Ref.parse(other)
        child, parent = (near, far) if direction == "up" else (far, near)
        yield Edge(child, parent, role, source)
