"""What ``mvtrace pin`` registers: the version, where the bytes of its artifacts lie, its parents.

In: a lock and its description. Out: the composite version (with components and contents), an entry
``artifact`` for each place that the description tells by a ``uri``, and one ``derivation``. A file
without a ``uri`` has no place of its own: what lies in a checkout is nobody's to collect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mvtrace.registry.entries import Entry, entry_of
from mvtrace.registry.errors import RegistryError
from mvtrace.registry.lineage.derivations import EXPERIMENT_ROLE, PREVIOUS_ROLE, derivation
from mvtrace.registry.lineage.walking import walk
from mvtrace.registry.pin.description import Description
from mvtrace.registry.pin.lockfile import Lock
from mvtrace.registry.reading import Ask
from mvtrace.registry.refs import Ref


def artifact_entry(artifact: str, uri: str, size: int, *, role: str = "") -> Entry:
    """Return the entry that says that the *size* bytes of *artifact* lie at *uri*.

    Raises:
        RegistryError: the digest is none, or the URI is no line of text.
    """
    digest = Ref.of("artifact", artifact).digest
    if not (uri.isprintable() and 0 < len(uri) <= 4_096):  # noqa: PLR2004 (longer is no address)
        raise RegistryError("artifact", "its uri is one line of at most 4,096 characters.")
    said = {"artifact": digest, "uri": uri, "bytes": size}
    return entry_of("artifact", {**said, "role": role} if role else said)


def artifact_entries(lock: Lock, description: Description) -> Iterator[Entry]:
    """Yield the entries of the places that *description* tells."""
    pinned = lock.by_slot
    for part in description.parts:
        uri = part.said.get("uri")
        artifact = pinned[part.slot].facts.get("artifact") if part.slot in pinned else None
        if uri is not None and isinstance(artifact, dict):
            digest = str(artifact["digest"]).removeprefix("sha256:")
            yield artifact_entry(digest, uri, int(artifact["bytes"]), role=part.kind)


def without_place(lock: Lock, description: Description) -> list[str]:
    """Return the slots of artifacts of which nobody said where they are kept."""
    told = {part.slot for part in description.parts if "uri" in part.said}
    return [
        part.slot
        for part in lock.composite.components
        if "artifact" in part.facts and part.slot not in told
    ]


def parents_of(lock: Lock) -> list[tuple[Ref, str]]:
    """Return what the version of *lock* was made from, with roles."""
    pairs = [(one, PREVIOUS_ROLE) for one in lock.parents]
    return pairs + ([(lock.experiment, EXPERIMENT_ROLE)] if lock.experiment else [])


def derivation_entries(lock: Lock, reason: str = "") -> list[Entry]:
    """Return the derivation of the version of *lock*; none where it was made from nothing."""
    parents = parents_of(lock)
    if not parents:
        return []
    return [derivation(Ref("composite", lock.version), parents, reason=reason)]


def returns_to(ask: Ask, version: str, parents: Sequence[Ref]) -> list[Ref]:
    """Return those of *parents* that were themselves made from *version*.

    A version that comes back is not made from what followed it: that would be a circle.
    """
    child = Ref("composite", version)
    return [
        one for one in parents if one == child or child in walk(ask, one, direction="up").depths
    ]
