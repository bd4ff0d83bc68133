"""Merges: things with several parents whose weights they come from. mvtrace merges nothing.

In: edges. Out: what has more than one parent of a role that weights come through. Such a thing was
made by a tool that merges models: what was tested of its parents is not proven of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mvtrace.registry.lineage.derivations import BASE_ROLES
from mvtrace.registry.lineage.walking import Edge
from mvtrace.registry.refs import Ref


class Merge(NamedTuple):
    """*child* has several *parents* that its weights come from."""

    child: Ref
    parents: tuple[Ref, ...]

    def sentence(self) -> str:
        """Return what is to be said about it."""
        return (
            f"{short(self.child)} is a merge of {len(self.parents)} models "
            f"({', '.join(map(short, self.parents))}): what is known of them is not proven of it."
        )


def merges(edges: Iterable[Edge]) -> list[Merge]:
    """Return the merges among *edges*, in the order of their children."""
    parents: dict[Ref, set[Ref]] = {}
    for edge in edges:
        if edge.role in BASE_ROLES:
            parents.setdefault(edge.child, set()).add(edge.parent)
    return [
        Merge(child, tuple(sorted(found)))
        for child, found in sorted(parents.items())
        if len(found) > 1
    ]


def short(ref: Ref) -> str:
    """Return a ref as people read it: the kind and 12 digits."""
    return f"{ref.kind}:{ref.digest[:12]}"
