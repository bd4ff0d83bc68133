"""Everything that is known of one version, or of one thing that versions are made of.

In: what a text named. Out: plain JSON values: components with labels, facts and provenance, where
artifacts lie, what it was made from, what was made from it, where it was deployed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mvtrace.errors import ComponentNotFoundError
from mvtrace.registry.errors import EntryNotFoundError
from mvtrace.registry.pin.naming import Named, deployments, moment_words
from mvtrace.registry.pin.versions import (
    TextRef,
    Version,
    VersionPart,
    read_facts,
    read_texts,
    text_refs,
)
from mvtrace.registry.reading import Ask, entries, statement
from mvtrace.registry.refs import Ref

MAX_LISTED: Final = 20
_MOST_EDGES: Final = 1_000


def version_shown(ask: Ask | None, named: Named, *, with_texts: bool = False) -> dict[str, Any]:
    """Return what is known of a version; without *ask* what its lock says."""
    version = named.version
    shown: dict[str, Any] = {
        "asked": named.text,
        "how": named.how,
        "at": None if named.at_ms is None else moment_words(named.at_ms),
        "request_id": named.request_id,
        "deployment": None if named.deployment is None else named.deployment.to_dict(),
        "canary": None if named.canary is None else named.canary.to_dict(),
        "version": version.version,
        "name": version.name,
        "is_registered": version.is_known,
        "components": [_part(part, version) for _, part in sorted(version.parts.items())],
        "edges": [
            {"from": edge.source, "to": edge.target, "role": edge.role} for edge in version.edges
        ],
    }
    if named.lock is not None:
        shown["parents"] = [{"ref": str(one), "role": ""} for one in named.lock.parents]
    return shown if ask is None else shown | _registered(ask, shown, with_texts=with_texts)


def component_shown(ask: Ask, digest: str) -> dict[str, Any]:
    """Return what is known of the component *digest* (64 hex digits).

    Raises:
        ComponentNotFoundError: nobody registered it.
    """
    whole = f"sha256:{digest}"
    facts = read_facts(ask, [whole]).get(whole)
    if facts is None:
        raise ComponentNotFoundError(whole, [])
    rows = ask(statement("pin_containing"), {"digest": whole, "limit": MAX_LISTED})
    part = VersionPart("", whole, facts)
    shown = {"kind": "component", "digest": whole, **_part(part, None)}
    return {
        **shown,
        "texts": _texts(ask, text_refs(facts)),
        "places": _places(ask, [shown]),
        "versions": [{"version": row["version"], "name": row["title"]} for row in rows],
        **_edges(ask, Ref("component", digest)),
    }


def entry_shown(ask: Ask, ref: Ref) -> dict[str, Any]:
    """Return what is known of a thing that no version is: a dataset, a suite, an artifact.

    Raises:
        EntryNotFoundError: nothing is.
    """
    found = entries(ask, ref.kind, [f"sha256:{ref.digest}"])
    edges = _edges(ask, ref)
    places = _places_of(ask, [ref.digest]) if ref.kind == "artifact" else []
    if not found and not places and not edges["parents"] and not edges["children"]:
        raise EntryNotFoundError(ref.kind, str(ref))
    said = [one.said for one in found.values()]
    return {"kind": ref.kind, "ref": str(ref), "says": said, "places": places, **edges}


def _registered(ask: Ask, shown: Mapping[str, Any], *, with_texts: bool) -> dict[str, Any]:
    version = str(shown["version"])
    references = [
        reference
        for one in shown["components"]
        for reference in text_refs(one["facts"] or {}, one["slot"])
    ]
    edges = _edges(ask, Ref("composite", version))
    found = {
        "places": _places(ask, shown["components"]),
        "deployments": [one.to_dict() for one in deployments(ask, versions=[version])],
        "unregistered_texts": _unregistered(ask, references),
        "children": edges["children"],
    }
    if edges["parents"] or "parents" not in shown:
        found["parents"] = edges["parents"]
    return found | ({"texts": _texts(ask, references)} if with_texts else {})


def _part(part: VersionPart, version: Version | None) -> dict[str, Any]:
    origins = [] if version is None else version.origins.get(part.slot, [])
    return {
        "slot": part.slot,
        "digest": part.digest,
        "label": part.label,
        "is_registered": part.facts is not None,
        "facts": None if part.facts is None else dict(part.facts),
        "provenance": origins if isinstance(origins, list) else [],
    }


def _texts(ask: Ask, references: Iterable[TextRef]) -> list[dict[str, Any]]:
    wanted = list(references)
    known = read_texts(ask, wanted)
    return [
        {"key": one.key, "digest": one.digest, "bytes": one.size, "text": known.get(one.digest)}
        for one in wanted
    ]


def _unregistered(ask: Ask, references: Iterable[TextRef]) -> list[str]:
    """Return the keys of the texts that are not registered; the texts themselves stay there."""
    wanted = list(references)
    pieces = sorted({piece for one in wanted for piece in one.pieces})
    rows = ask(statement("pin_contents_known"), {"digests": pieces}) if pieces else []
    known = {row["digest"] for row in rows}
    return [one.key for one in wanted if not known.issuperset(one.pieces)]


def _places(ask: Ask, parts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the artifacts of components, each with the places where its bytes lie."""
    artifacts: dict[str, dict[str, Any]] = {}
    for one in parts:
        artifact = (one["facts"] or {}).get("artifact")
        if isinstance(artifact, Mapping) and isinstance(artifact.get("digest"), str):
            digest = artifact["digest"].removeprefix("sha256:")
            said = {"artifact": digest, "bytes": artifact.get("bytes"), "slots": [], "uris": []}
            artifacts.setdefault(digest, said)["slots"].append(one["slot"])
    for place in _places_of(ask, list(artifacts)):
        artifacts[place["artifact"]]["uris"].append(place["uri"])
    return list(artifacts.values())


def _places_of(ask: Ask, artifacts: list[str]) -> list[dict[str, Any]]:
    if not artifacts:
        return []
    return [
        {"artifact": row["artifact"], "uri": row["uri"], "bytes": int(row["size"])}
        for row in ask(statement("pin_places"), {"artifacts": artifacts})
    ]


def _edges(ask: Ask, ref: Ref) -> dict[str, list[dict[str, str]]]:
    """Return what *ref* was made from and what was made from it, as somebody recorded it."""
    found: dict[str, list[dict[str, str]]] = {}
    for key, direction in (("parents", "up"), ("children", "down")):
        asked = {"nodes": [str(ref)], "direction": direction, "limit": _MOST_EDGES}
        rows = ask(statement("lineage_level"), asked)
        found[key] = [{"ref": row["other"], "role": row["role"]} for row in rows if row["source"]]
    return found
