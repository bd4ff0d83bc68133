"""Whether a version is whole: which of its artifacts no longer exist, or are being collected. Pure.

In: what the registry knows of one version, and the collections that have not ended. Out: each
artifact with its places and what became of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from mvtrace.registry.retention.tombstones import COLLECTED, Tombstone, latest_places, place_of
from mvtrace.registry.retention.uris import Where
from mvtrace.registry.retention.values import Known, Place


class Kept(NamedTuple):
    """A place of an artifact, and its tombstone where its bytes were collected."""

    place: Place
    tombstone: Tombstone | None


class Artifact(NamedTuple):
    """An artifact of a version, by its digest, with the places where it lay."""

    digest: str
    places: tuple[Kept, ...]

    @property
    def is_gone(self) -> bool:
        """Whether its bytes were collected wherever they were known to lie."""
        return all(one.tombstone is not None for one in self.places)

    def words(self) -> str:
        """Return where it lay and what became of it there, in one line."""
        told = (
            f"{place.uri} ({place.bytes:,} bytes), collected {stone.to_dict()['at'][:10]}: "
            f"{stone.reason or stone.rule or 'no reason given'}"
            for place, stone in self.places
            if stone is not None
        )
        return f"artifact {self.digest[:12]} from {'; from '.join(told)}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "artifact": self.digest,
            "is_gone": self.is_gone,
            "places": [
                {
                    "uri": place.uri,
                    "bytes": place.bytes,
                    "collected": None if stone is None else stone.to_dict(),
                }
                for place, stone in self.places
            ],
        }


def artifacts_of(known: Known) -> list[Artifact]:
    """Return the artifacts of the one version that *known* was read for, by digest."""
    states = latest_places(known.tombstones)
    found: dict[str, list[Kept]] = {}
    for place in sorted(set(known.places)):
        stone = states.get(place_of(place.artifact, place.uri))
        is_gone = stone is not None and stone.action == COLLECTED
        found.setdefault(place.artifact, []).append(Kept(place, stone if is_gone else None))
    return [Artifact(digest, tuple(places)) for digest, places in sorted(found.items())]


def being_collected(known: Known, version: str, begun: Iterable[Tombstone]) -> Tombstone | None:
    """Return a collection that has not ended and that takes what *version* needs; None if none.

    It takes it by its name, or because it lies within, around or where an artifact of it lies.
    """
    artifacts = {one.artifact for one in known.places}
    places = [where for one in known.places if (where := _where(one.uri)) is not None]
    for step in begun:
        if step.artifact in artifacts or version in step.versions:
            return step
        where = _where(step.uri)
        if where is not None and any(map(where.overlaps, places)):
            return step
    return None


def _where(uri: str) -> Where | None:
    try:
        return Where.parse(uri)
    except ValueError:
        return None
