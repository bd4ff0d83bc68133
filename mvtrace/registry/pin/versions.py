"""Versions as values: read from the registry or a lock, with the texts that are registered.

In: an Ask, or a lock. Out: a Version with its parts; of a part nobody registered the digest alone.
A text is given out only where its digest recomputes. Who may send could have registered any JSON
under its own digest: what is no manifest and no component is as good as not registered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from mvtrace.components.composite import CompositeVersion
from mvtrace.components.edges import Edge
from mvtrace.digest import CONTENT_DOMAIN, digest_of, parse_canonical
from mvtrace.registry.reading import Ask, statement

SHORT: Final = 12
_AT_ONCE: Final = 500
_MAX_AT_ONCE_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class VersionPart:
    """One component of a version."""

    slot: str
    digest: str
    facts: Mapping[str, Any] | None = field(default=None, repr=False)
    """None where the component is not registered."""
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A composite version as it is known."""

    version: str
    name: str = ""
    parts: Mapping[str, VersionPart] = field(default_factory=dict, repr=False)
    edges: tuple[Edge, ...] = field(default=(), repr=False)
    origins: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Notes of where parts come from, by slot."""
    is_known: bool = True
    """Whether its manifest is registered; else only its name is known, from requests."""

    @property
    def short(self) -> str:
        """The version as people read it."""
        return self.version[:SHORT]


class TextRef(NamedTuple):
    """Where facts refer to a text: which key, its digest, its pieces, its bytes."""

    key: str
    digest: str
    pieces: tuple[str, ...]
    size: int


class ManifestLines(NamedTuple):
    """What a manifest lists: digests by slot, and edges."""

    digests: Mapping[str, str]
    edges: tuple[Edge, ...]


def version_of(made: CompositeVersion) -> Version:
    """Return a version that is at hand, as one of a lock is."""
    parts = {
        part.slot: VersionPart(part.slot, part.digest, part.facts, part.label)
        for part in made.components
    }
    return Version(made.version, made.name, parts, made.edges)


def read_versions(ask: Ask, versions: Iterable[str]) -> dict[str, Version]:
    """Return those of *versions* that are registered, with the components that are."""
    wanted = sorted(set(versions))
    if not wanted:
        return {}
    rows = [
        row
        for some in _slices(wanted)
        for row in ask(statement("pin_versions"), {"versions": some})
    ]
    manifests = {row["version"]: parse_manifest(row["body"]) for row in rows}
    sound = {version: said for version, said in manifests.items() if said is not None}
    digests = {digest for said in sound.values() for digest in said.digests.values()}
    facts = read_facts(ask, digests)
    return {
        row["version"]: _version(row, sound[row["version"]], facts)
        for row in rows
        if row["version"] in sound
    }


def read_facts(ask: Ask, digests: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the facts of those components *digests* that are registered."""
    found = {
        row["digest"]: parse_facts(row["body"])
        for some in _slices(sorted(set(digests)))
        for row in ask(statement("pin_components"), {"digests": some})
    }
    return {digest: facts for digest, facts in found.items() if facts is not None}


def parse_facts(body: str) -> dict[str, Any] | None:
    """Return the facts of a component's body; None where it has none."""
    try:
        said = parse_canonical(body)
    except (ValueError, RecursionError):
        return None
    facts = said.get("facts") if isinstance(said, dict) else None
    return facts if isinstance(facts, dict) else None


def parse_manifest(body: str) -> ManifestLines | None:
    """Return what a manifest lists; None where it lists nothing that is one."""
    try:
        said = orjson.loads(body)
        digests = {f"{one['kind']}/{one['name']}": one["digest"] for one in said["components"]}
        edges = tuple(Edge(one["from"], one["to"], one["role"]) for one in said["edges"])
    except (ValueError, TypeError, KeyError):
        return None
    texts = [*digests.values(), *(text for edge in edges for text in edge)]
    is_sound = all(isinstance(text, str) for text in texts)
    return ManifestLines(digests, edges) if is_sound else None


def read_texts(ask: Ask, references: Iterable[TextRef]) -> dict[str, str]:
    """Return the registered texts by digest; one that does not recompute is none."""
    found: dict[str, str] = {}
    some: list[TextRef] = []
    for one in {one.digest: one for one in references}.values():
        some.append(one)
        if sum(each.size for each in some) > _MAX_AT_ONCE_BYTES:
            found |= _texts(ask, some)
            some = []
    return found | _texts(ask, some)


def text_refs(facts: object, key: str = "") -> Iterator[TextRef]:
    """Yield the references to texts anywhere in *facts*, by the key that holds them."""
    if isinstance(facts, list):
        for number, one in enumerate(facts):
            yield from text_refs(one, f"{key}[{number}]")
    elif isinstance(facts, Mapping):
        found = as_text_ref(facts, key)
        if found is not None:
            yield found
            return
        for name, one in facts.items():
            yield from text_refs(one, f"{key}.{name}" if key else str(name))


def as_text_ref(value: object, key: str) -> TextRef | None:
    """Return the reference that *value* is; None where it is none."""
    if not isinstance(value, Mapping) or value.keys() != {"content"}:
        return None
    said = value["content"]
    if not isinstance(said, Mapping) or not isinstance(said.get("digest"), str):
        return None
    pieces = said.get("pieces", [said["digest"]])
    size = said.get("bytes")
    if not isinstance(pieces, list) or not all(isinstance(one, str) for one in pieces):
        return None
    return TextRef(
        key, said["digest"], tuple(pieces), size if type(size) is int and size >= 0 else 0
    )


def _texts(ask: Ask, references: Sequence[TextRef]) -> dict[str, str]:
    wanted = sorted({piece for one in references for piece in one.pieces})
    pieces: dict[str, str] = {}
    for some in _slices(wanted):
        rows = ask(statement("pin_contents"), {"digests": some})
        pieces |= {row["digest"]: row["content"] for row in rows}
    found = {}
    for one in references:
        if all(piece in pieces for piece in one.pieces):
            text = "".join(pieces[piece] for piece in one.pieces)
            if digest_of(CONTENT_DOMAIN, text.encode("utf-8", "surrogatepass")) == one.digest:
                found[one.digest] = text
    return found


def _version(
    row: Mapping[str, Any], said: ManifestLines, facts: Mapping[str, dict[str, Any]]
) -> Version:
    labels = row["named"]
    parts = {
        slot: VersionPart(slot, digest, facts.get(digest), labels.get(slot))
        for slot, digest in said.digests.items()
    }
    return Version(row["version"], row["title"], parts, said.edges, _origins(row["origins"]))


def _origins(text: str) -> dict[str, Any]:
    try:
        said = orjson.loads(text) if text else {}
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _slices(values: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, len(values), _AT_ONCE):
        yield list(values[first : first + _AT_ONCE])
