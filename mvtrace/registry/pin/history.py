"""The versions of a system in the order of time, and what changed from each to the next.

In: an Ask and, where only one place is meant, a service and an environment. Out: one Step a version
that was known (or, of a place, that served), newest first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mvtrace.registry.deployments import Deployment, Serving, after
from mvtrace.registry.pin.differing import changed_slots
from mvtrace.registry.pin.naming import deployments, moment_words
from mvtrace.registry.pin.versions import Version, read_versions
from mvtrace.registry.reading import Ask, entries, statement
from mvtrace.registry.refs import Ref

_MOST_EDGES = 100_000


@dataclass(frozen=True, slots=True)
class Step:
    """One version in a history."""

    at_ms: int
    """When it was first known; of a place, when it began to serve there."""
    version: Version
    against: Version | None = None
    """What it is compared with: what it was made from, else the version before it."""
    changes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    parents: tuple[Ref, ...] = ()
    experiments: tuple[str, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    """The decisions about it; of a place the one that made it serve."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "at": moment_words(self.at_ms),
            "version": self.version.version,
            "name": self.version.name,
            "is_registered": self.version.is_known,
            "against": None if self.against is None else self.against.version,
            "changes": {key: list(slots) for key, slots in self.changes.items()},
            "parents": [str(one) for one in self.parents],
            "experiments": list(self.experiments),
            "deployments": [one.to_dict() for one in self.deployments],
        }


def history(ask: Ask, *, limit: int) -> list[Step]:
    """Return the newest *limit* versions of the project, each against what it was made from."""
    rows = ask(statement("pin_history"), {"limit": limit + 1})
    times = {str(row["version"]): int(row["first_ms"]) for row in rows}
    listed = list(times)
    origins = _origins(ask, listed)
    parents = {one.digest for found in origins.values() for one in found.versions}
    known = read_versions(ask, [*listed, *parents])
    decided: dict[str, list[Deployment]] = {}
    for one in deployments(ask, versions=listed[:limit]) if listed else ():
        decided.setdefault(one.composite, []).append(one)
    steps = []
    for number, version in enumerate(listed[:limit]):
        origin = origins[version]
        earlier = [one.digest for one in origin.versions] or listed[number + 1 : number + 2]
        before = next((known[one] for one in earlier if one in known), None)
        steps.append(
            _step(
                times[version],
                _known(known, version),
                before,
                origin=origin,
                decided=decided.get(version, ()),
            )
        )
    return steps


def history_of_place(ask: Ask, *, service: str, environment: str, limit: int) -> list[Step]:
    """Return what served a place, newest first, each against what served before it."""
    found = deployments(ask, service=service, environment=environment)
    shown = began_to_serve(found)[-limit:]
    origins = _origins(ask, [one.composite for one, _ in shown])
    earlier = [before for _, before in shown if before is not None]
    known = read_versions(ask, [*(one.composite for one, _ in shown), *earlier])
    steps = [
        _step(
            one.at // 1_000_000,
            _known(known, one.composite),
            None if before is None else _known(known, before),
            origin=origins[one.composite],
            decided=(one,),
        )
        for one, before in shown
    ]
    return steps[::-1]


def began_to_serve(found: Sequence[Deployment]) -> list[tuple[Deployment, str | None]]:
    """Return the decisions by which another version serves, each with the version before it.

    *found* are decisions in order, about any number of places.
    """
    states: dict[tuple[str, str], Serving] = {}
    began = []
    for one in found:
        place = (one.decision.service, one.decision.environment)
        before = states.get(place, Serving())
        states[place] = after(before, one)
        if states[place].version != before.version:
            began.append((one, before.version))
    return began


@dataclass(slots=True)
class _Origin:
    versions: list[Ref] = field(default_factory=list)
    refs: list[Ref] = field(default_factory=list)
    experiments: list[str] = field(default_factory=list)


def _origins(ask: Ask, versions: Sequence[str]) -> dict[str, _Origin]:
    """Return what each of *versions* was made from, as somebody recorded it."""
    found = {version: _Origin() for version in versions}
    nodes = [f"composite:{version}" for version in versions]
    asked = {"nodes": nodes, "direction": "up", "limit": _MOST_EDGES}
    rows = ask(statement("lineage_level"), asked) if nodes else []
    parents = [
        (row["node"].partition(":")[2], Ref.parse(row["other"])) for row in rows if row["source"]
    ]
    digests = [f"sha256:{one.digest}" for _, one in parents if one.kind == "experiment"]
    names = {digest: one.name for digest, one in entries(ask, "experiment", digests).items()}
    for version, parent in parents:
        origin = found[version]
        if parent.kind == "experiment":
            origin.experiments.append(names.get(f"sha256:{parent.digest}") or str(parent))
        else:
            origin.refs.append(parent)
        if parent.kind == "composite":
            origin.versions.append(parent)
    return found


def _known(known: Mapping[str, Version], version: str) -> Version:
    return known.get(version) or Version(version, is_known=False)


def _step(
    at_ms: int,
    version: Version,
    before: Version | None,
    *,
    origin: _Origin,
    decided: Sequence[Deployment],
) -> Step:
    is_comparable = before is not None and before.is_known and version.is_known
    return Step(
        at_ms,
        version,
        before,
        changed_slots(before, version) if is_comparable and before is not None else {},
        tuple(origin.refs),
        tuple(origin.experiments),
        tuple(decided),
    )
