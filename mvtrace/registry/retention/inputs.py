"""What retention is planned from, read from the registry: all of it, or what bears on one place.

In: an ``Ask``. Out: :class:`Known`. Read narrowly it holds all that can make one place kept:
whatever overlaps it, the versions that need any of that, what was made from them, and all
deployments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mvtrace.registry.deployments import Decision, Deployment
from mvtrace.registry.errors import TooDeepError
from mvtrace.registry.reading import Ask, statement
from mvtrace.registry.refs import Ref
from mvtrace.registry.retention.tombstones import Came, Tombstone
from mvtrace.registry.retention.uris import Where
from mvtrace.registry.retention.values import Known, Place, Served, Version

_MILLISECOND: Final = 1_000_000
_MAX_DEPTH: Final = 64
"""Of components that pin components; of what is nested deeper nothing is decided."""
_AT_ONCE: Final = 20_000
"""Rows of a table that are asked for at once; of more, those of each first digit."""
_DIGITS: Final = "0123456789abcdef"
_NOTHING: Final = "-"
"""A filter that lets nothing through; an empty one lets everything."""


def read_all(ask: Ask) -> Known:
    """Return all that the registry knows; raises what *ask* raises."""
    mentions: dict[str, frozenset[str]] = {}
    versions: dict[str, Version] = {}
    for prefix in _prefixes(ask):
        mentions |= _mentions(ask, prefix, digests=[], components=[])
        versions |= _versions(ask, prefix, components=[], versions=[])
    return Known(
        places=_places(ask, [], ""),
        mentions=mentions,
        versions=versions,
        made=_made(ask, []),
        deployments=_deployments(ask),
        served=_served(ask, []),
        tombstones=steps_of(ask),
    )


def read_near(ask: Ask, artifact: str, where: Where) -> Known:
    """Return what can make the place *where* of *artifact* kept; raises what *ask* raises.

    Raises:
        TooDeepError: components that need it are nested too deep.
    """
    places = _places(ask, [artifact], where.path.strip("/"))
    return _around(ask, places, {one.artifact for one in places} | {artifact})


def read_version(ask: Ask, version: str) -> Known:
    """Return the artifacts of *version*, where they lie, and what was said of them.

    Raises:
        TooDeepError: its components are nested too deep.
    """
    versions = _versions(ask, components=[_NOTHING], versions=[version])
    parts = {part for one in versions.values() for part in one.components}
    mentions: dict[str, frozenset[str]] = {}
    for _ in range(_MAX_DEPTH):
        if not (missing := sorted(parts - mentions.keys())):
            break
        found = _mentions(ask, digests=[_NOTHING], components=_digests(missing))
        mentions |= {one: found.get(one, frozenset()) for one in missing}
        parts |= {digest for one in found.values() for digest in one}
    else:
        raise TooDeepError(_MAX_DEPTH)
    artifacts = sorted(parts - versions.keys()) or [_NOTHING]
    places = _places(ask, artifacts, "")
    of_places = sorted({one.artifact for one in places}) or [_NOTHING]
    return Known(
        places=places,
        mentions=mentions,
        versions=versions,
        tombstones=steps_of(ask, of_places),
    )


def begun(ask: Ask) -> tuple[Tombstone, ...]:
    """Return the collections that were begun and have not ended."""
    rows = ask(statement("retention_begun"), {})
    return tuple(step for row in rows if (step := _step(row)) is not None)


def steps_of(ask: Ask, artifacts: Sequence[str] = ()) -> tuple[Tombstone, ...]:
    """Return what was said of collecting *artifacts*, or of collecting any."""
    prefixes = [""] if artifacts else _prefixes(ask)
    rows = (
        row
        for prefix in prefixes
        for row in ask(
            statement("retention_events"), {"artifacts": list(artifacts), "prefix": prefix}
        )
    )
    return tuple(step for row in rows if (step := _step(row)) is not None)


def _prefixes(ask: Ask) -> Sequence[str]:
    """Return the beginnings of digests to ask for one after another, so that answers stay small."""
    (sizes,) = ask(statement("retention_sizes"), {})
    return [""] if max(map(int, sizes.values())) <= _AT_ONCE else _DIGITS


def _around(ask: Ask, places: tuple[Place, ...], artifacts: set[str]) -> Known:
    mentions, versions = _needing(ask, artifacts)
    parts = {part for one in versions.values() for part in one.components} | mentions.keys()
    parents = [f"artifact:{one}" for one in sorted(artifacts)]
    parents += [f"component:{one}" for one in sorted(parts)]
    parents += [f"composite:{one}" for one in sorted(versions)]
    made = _made(ask, parents)
    children = [child for child, _ in made]
    child_parts, child_versions = _needing(
        ask,
        {one.digest for one in children if one.kind == "artifact"},
        components={one.digest for one in children if one.kind == "component"},
        versions={one.digest for one in children if one.kind == "composite"},
    )
    every = {**child_versions, **versions}
    served_by = sorted(every.keys()) or [_NOTHING]
    return Known(
        places=places,
        mentions={**child_parts, **mentions},
        versions=every,
        made=made,
        deployments=_deployments(ask),
        served=_served(ask, served_by),
        tombstones=steps_of(ask, sorted(artifacts) or [_NOTHING]),
    )


def _needing(
    ask: Ask, artifacts: set[str], *, components: Iterable[str] = (), versions: Iterable[str] = ()
) -> tuple[dict[str, frozenset[str]], dict[str, Version]]:
    """Return the components that mention *artifacts*, or are among *components*, and who pins them.

    With them the versions that have any, or are among *versions*.
    """
    mentions: dict[str, frozenset[str]] = {}
    new = set(artifacts)
    wanted = set(components)
    for _ in range(_MAX_DEPTH):
        if not new and not wanted:
            break
        found = _mentions(
            ask,
            digests=sorted(new) or [_NOTHING],
            components=_digests(sorted(wanted)) or [_NOTHING],
        )
        new = (found.keys() | wanted) - mentions.keys()
        mentions |= {**dict.fromkeys(wanted, frozenset()), **found}
        wanted = set()
    else:
        raise TooDeepError(_MAX_DEPTH)
    having = _digests(sorted(mentions)) or [_NOTHING]
    return mentions, _versions(ask, components=having, versions=sorted(versions) or [_NOTHING])


def _places(ask: Ask, artifacts: Sequence[str], path: str) -> tuple[Place, ...]:
    rows = ask(statement("retention_places"), {"artifacts": list(artifacts), "path": path})
    return tuple(
        Place(row["artifact"], row["uri"], int(row["size"]), _ns(row)) for row in rows if row["uri"]
    )


def _mentions(ask: Ask, prefix: str = "", **filters: Sequence[str]) -> dict[str, frozenset[str]]:
    rows = ask(statement("retention_mentions"), {"prefix": prefix, **filters})
    return {row["component"]: frozenset(row["mentions"]) for row in rows}


def _versions(ask: Ask, prefix: str = "", **filters: Sequence[str]) -> dict[str, Version]:
    rows = ask(statement("retention_versions"), {"prefix": prefix, **filters})
    return {row["version"]: Version(frozenset(row["components"]), _ns(row)) for row in rows}


def _made(ask: Ask, parents: Sequence[str]) -> tuple[tuple[Ref, Ref], ...]:
    rows = ask(statement("retention_made"), {"parents": list(parents)})
    return tuple((Ref.parse(row["child"]), Ref.parse(row["parent"])) for row in rows)


def _served(ask: Ask, versions: Sequence[str]) -> tuple[Served, ...]:
    rows = ask(statement("retention_served"), {"versions": list(versions)})
    return tuple(
        Served(row["version"], row["place"], int(row["last_ms"]) * _MILLISECOND) for row in rows
    )


def _deployments(ask: Ask) -> tuple[Deployment, ...]:
    return tuple(
        Deployment(
            event_id=row["event"],
            decision=Decision.from_bytes(row["body"]),
            at=int(row["decided"]),
            actor=row["actor"],
            actor_label=row["actor_label"],
            received_at=_ns(row),
            seq=int(row["seq"]),
        )
        for row in ask(statement("retention_deployments"), {})
    )


def _step(row: Mapping[str, Any]) -> Tombstone | None:
    """Return a stored step; None where somebody said something else under its name."""
    came = Came(int(row["received_ms"]), int(row["seq"]), int(row["said"]), row["event"])
    try:
        return Tombstone.from_bytes(
            row["body"], actor=row["actor"], actor_label=row["actor_label"], came=came
        )
    except ValueError:
        return None


def _digests(components: Sequence[str]) -> list[str]:
    return [f"sha256:{one}" for one in components]


def _ns(row: Mapping[str, Any]) -> int:
    return int(row["received_ms"]) * _MILLISECOND
