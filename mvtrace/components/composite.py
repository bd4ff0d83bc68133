"""composite(): components and the edges between them as one version of the whole system.

In: components, in any order. Out: a CompositeVersion, named by the digest of its manifest, and the
events that register it. Labels and the composite's own name are in no digest.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from mvtrace import semconv
from mvtrace.components.component import Component
from mvtrace.components.edges import Edge, EdgeLike, find_cycle, resolve_edges
from mvtrace.components.provenance.note import notes_by_slot
from mvtrace.digest import COMPOSITE_DOMAIN, canonical_bytes, digest_of
from mvtrace.errors import CompositeError
from mvtrace.otlp import LogEvent

MAX_MANIFEST_BYTES: Final = 196_608
"""A manifest travels in one event, with the labels beside it."""
MAX_NAME_LENGTH: Final = 200
_SHORT = 12


@dataclass(frozen=True, slots=True)
class CompositeVersion:
    """One state of a whole system. Law: ``version`` is the hex digest of *manifest*."""

    version: str
    """64 hex digits."""
    name: str
    components: tuple[Component, ...] = field(repr=False)
    """Sorted by kind and name."""
    edges: tuple[Edge, ...] = field(repr=False)
    manifest: bytes = field(repr=False)

    @property
    def short(self) -> str:
        """The version as people read it: 12 hex digits."""
        return self.version[:_SHORT]

    @property
    def labels(self) -> dict[str, str]:
        """Labels by slot, of the components that have one."""
        return {part.slot: part.label for part in self.components if part.label is not None}

    def component(self, kind: str, name: str) -> Component | None:
        """Return the component in the slot *kind*/*name*, or None."""
        for part in self.components:
            if part.kind == kind and part.name == name:
                return part
        return None

    def events(self, register_content: bool = True) -> Iterator[LogEvent]:  # noqa: FBT001, FBT002 (a setting of the process, passed through)
        """Return the events that register this version: contents, components, the composite.

        Without *register_content* no text leaves the process, only digests and facts.
        """
        now = time.time_ns()
        if register_content:
            pieces = {
                piece.digest: piece.text for part in self.components for piece in part.contents
            }
            for digest, text in pieces.items():
                yield LogEvent(semconv.EVENT_CONTENT, now, text, {semconv.CONTENT_DIGEST: digest})
        for part in self.components:
            yield LogEvent(semconv.EVENT_COMPONENT, now, part.body.decode(), _attributes(part))
        yield LogEvent(
            semconv.EVENT_COMPOSITE,
            now,
            self.manifest.decode(),
            {
                semconv.COMPOSITE_VERSION: self.version,
                semconv.COMPOSITE_NAME: self.name,
                semconv.COMPOSITE_LABELS: canonical_bytes(self.labels).decode(),
                **self._provenance(),
            },
        )

    def _provenance(self) -> dict[str, str]:
        """Return where the parts come from, as an attribute; none where nothing is known."""
        notes = notes_by_slot((part.slot, part.provenance) for part in self.components)
        return {semconv.COMPOSITE_PROVENANCE: canonical_bytes(notes).decode()} if notes else {}


def composite(
    name: str, /, *components: Component, edges: Iterable[EdgeLike] = ()
) -> CompositeVersion:
    """Return the version of the system that *components* and *edges* make.

    What a component pins (a router's candidates, an index's embedding model) is added, with the
    edge to it. Further *edges* are pairs ``(from, to)`` or triples ``(from, to, role)`` of
    components or slots such as ``"prompt/answer"``.

    Raises:
        CompositeError: two components take one slot, an edge leads to a slot that nothing takes,
            or the edges make a cycle.

    """
    if not (isinstance(name, str) and 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()):
        raise CompositeError(
            str(name), f"a name is one line of 1 to {MAX_NAME_LENGTH} printable characters."
        )
    slots = _slots(name, components)
    joined = resolve_edges(name, slots, edges)
    cycle = find_cycle(joined)
    if cycle:
        raise CompositeError(
            name,
            f"its edges make a cycle: {' -> '.join(cycle)}.",
            hint="An edge leads from what uses to what is used; remove one of these.",
        )
    ordered = tuple(slots[key] for key in sorted(slots))
    manifest = _manifest(ordered, joined)
    if len(manifest) > MAX_MANIFEST_BYTES:
        raise CompositeError(
            name,
            f"its manifest takes {len(manifest):,} bytes for {len(ordered):,} components; "
            f"a manifest has at most {MAX_MANIFEST_BYTES:,}.",
            hint="Pin many alike parts as one component, such as a folder.",
        )
    version = digest_of(COMPOSITE_DOMAIN, manifest).removeprefix("sha256:")
    return CompositeVersion(version, name, ordered, joined, manifest)


def _slots(name: str, components: tuple[Component, ...]) -> dict[tuple[str, str], Component]:
    """Return the components by slot, with the parts that they pin."""
    slots: dict[tuple[str, str], Component] = {}
    for component in components:
        if not isinstance(component, Component):
            raise CompositeError(
                name,
                f"{component!r} is a {type(component).__name__}, not a component.",
                hint="Make one with mvtrace.model(), mvtrace.prompt() and so on.",
            )
        if (component.kind, component.name) in slots:
            raise _taken(name, slots[component.kind, component.name], component)
        slots[component.kind, component.name] = component
    if not slots:
        raise CompositeError(
            name, "it has no components.", hint="Give the parts that the answer depends on."
        )
    for component in components:
        _add_parts(name, slots, component)
    return slots


def _add_parts(name: str, slots: dict[tuple[str, str], Component], component: Component) -> None:
    for part in component.parts:
        there = slots.setdefault((part.kind, part.name), part)
        if there.digest != part.digest:
            raise _taken(name, *sorted((there, part), key=lambda one: one.digest))
        _add_parts(name, slots, part)


def _taken(name: str, first: Component, second: Component) -> CompositeError:
    if first.digest == second.digest:
        problem = f"the component {first.slot} is given twice."
    else:
        problem = f"two components take the slot {first.slot}: {first.digest} and {second.digest}."
    return CompositeError(
        name, problem, hint="One component a slot: give each its own name, and give it once."
    )


def _manifest(components: Iterable[Component], edges: Iterable[Edge]) -> bytes:
    manifest: dict[str, Any] = {
        "components": [
            {"kind": part.kind, "name": part.name, "digest": part.digest} for part in components
        ],
        "edges": [{"from": edge.source, "to": edge.target, "role": edge.role} for edge in edges],
    }
    return canonical_bytes(manifest)


def _attributes(part: Component) -> dict[str, str]:
    return {
        semconv.COMPONENT_DIGEST: part.digest,
        semconv.COMPONENT_KIND: part.kind,
        semconv.COMPONENT_NAME: part.name,
    }
