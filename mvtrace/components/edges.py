"""Edges of a composite: given and automatic ones, checked against its slots; pure.

In: what a caller wrote as edges. Out: sorted Edge values, and a cycle where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mvtrace.components.component import Component
from mvtrace.errors import CompositeError

DEFAULT_ROLE = "uses"

EdgeLike = tuple[Component | str, Component | str] | tuple[Component | str, Component | str, str]
"""``(from, to)`` or ``(from, to, role)``; ends are components or slots ``kind/name``."""

Slots = Mapping[tuple[str, str], Component]


class Edge(NamedTuple):
    """One component uses another, in a role; both ends are slots ``kind/name``."""

    source: str
    target: str
    role: str = DEFAULT_ROLE


def resolve_edges(name: str, slots: Slots, edges: Iterable[EdgeLike]) -> tuple[Edge, ...]:
    """Return the *edges* of the composite *name* and those of its components' parts, sorted.

    Raises:
        CompositeError: an edge is none, or one of its ends is in none of *slots*.

    """
    known = {component.slot: component for component in slots.values()}
    found = {_edge(name, known, edge) for edge in edges}
    for component in slots.values():
        for part, role in zip(component.parts, component.roles, strict=True):
            found.add(Edge(component.slot, part.slot, role))
    return tuple(sorted(found))


def find_cycle(edges: Iterable[Edge]) -> list[str]:
    """Return a cycle as the slots along it, the first one again at the end; [] if there is none."""
    targets: dict[str, list[str]] = {}
    for edge in sorted(edges):
        targets.setdefault(edge.source, []).append(edge.target)
    done: set[str] = set()
    for start, first in targets.items():
        path = [start]
        branches = [iter(first)]
        while branches:
            following = next(branches[-1], None)
            if following is None:
                branches.pop()
                done.add(path.pop())
            elif following in path:
                return [*path[path.index(following) :], following]
            elif following not in done:
                path.append(following)
                branches.append(iter(targets.get(following, ())))
    return []


def _edge(name: str, known: Mapping[str, Component], edge: object) -> Edge:
    if not isinstance(edge, (tuple, list)) or len(edge) not in (2, 3):
        raise CompositeError(
            name,
            f"its edge {edge!r} is neither (from, to) nor (from, to, role).",
            hint='Write edges such as ("router/route", "prompt/answer", "candidate").',
        )
    source, target = (_end(name, known, end) for end in edge[:2])
    role = edge[2] if len(edge) > 2 else DEFAULT_ROLE  # noqa: PLR2004 (the third is the role)
    if not isinstance(role, str) or not role.isprintable() or not role:
        raise CompositeError(
            name, f"the role {role!r} of its edge {source} -> {target} is no name."
        )
    return Edge(source, target, role)


def _end(name: str, known: Mapping[str, Component], end: object) -> str:
    slot = end.slot if isinstance(end, Component) else end
    if not isinstance(slot, str) or slot not in known:
        raise CompositeError(
            name,
            f"its edge names {slot!r}, a slot that no component takes.",
            hint=f"Slots are: {', '.join(sorted(known))}.",
        )
    if isinstance(end, Component) and end.digest != known[slot].digest:
        raise CompositeError(
            name,
            f"its edge names {slot} with the digest {end.digest}, "
            f"but that slot has {known[slot].digest}.",
            hint="Give edges the components that the composite is made of.",
        )
    return slot
