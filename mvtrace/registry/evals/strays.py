"""Which entries a run is made of, where more name it than it has pieces.

In: the entries that name one run, whoever sent them. Out: those that together are what the run is
named by. A run's name is the digest of all it says, so an entry that only claims to be a piece of
it is told from one that is, and makes no whole run a torn one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Final

from mvtrace.digest import canonical_bytes
from mvtrace.registry.entries import Entry
from mvtrace.registry.evals.results import run_of

MOST_TRIED: Final = 64
"""Combinations of entries that claim the same pieces; of more than that the run stays torn."""
_PINNED: Final = ("composite", "suite", "scorer", "recorded_at")

Told = tuple[Entry, dict[str, Any], list[bytes]]
"""An entry, what it says, and its results' canonical bytes."""


def own_pieces(entries: Iterable[Entry], run: str) -> list[Entry]:
    """Return those of *entries* that are the pieces of *run*, in order; none where no set is."""
    claims: dict[tuple[Any, ...], dict[int, list[Told]]] = {}
    for entry in sorted(entries, key=lambda one: one.digest):
        said = entry.said
        alike = (said["pieces"], *(said[key] for key in _PINNED))
        told = entry, said, [canonical_bytes(one) for one in said["results"]]
        claims.setdefault(alike, {}).setdefault(said["piece"], []).append(told)
    for (pieces, *_), places in claims.items():
        if not all(number in places for number in range(1, min(pieces, len(places) + 1) + 1)):
            continue
        listed = [places[number] for number in range(1, pieces + 1)]
        for chosen in itertools.islice(itertools.product(*listed), MOST_TRIED):
            if _name(chosen) == run:
                return [entry for entry, _, _ in chosen]
    return []


def _name(chosen: Sequence[Told]) -> str:
    said = chosen[0][1]
    bodies = (body for _, _, listed in chosen for body in listed)
    return run_of({key: said[key] for key in _PINNED}, bodies)
