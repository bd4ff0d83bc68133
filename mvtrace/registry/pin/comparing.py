"""A lock compared with what is there: what differs, and what was not looked at.

In: a lock and its description. Out: a Comparison: the version that is there, each difference with
expected and found digest, and each part nobody looked at with the reason; and all of it in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mvtrace.components.component import Component
from mvtrace.components.composite import CompositeVersion, composite
from mvtrace.components.edges import Edge, EdgeLike
from mvtrace.registry.errors import LockMismatchError, SystemFileError
from mvtrace.registry.pin.description import Description, Part
from mvtrace.registry.pin.lockfile import Lock
from mvtrace.registry.pin.objects import NotLookedError
from mvtrace.registry.pin.resolving import Looking, Resolver, is_declared

_SHORT: Final = 12


@dataclass(frozen=True, slots=True)
class Difference:
    """One slot in which something else is than the lock pins."""

    slot: str
    expected: str | None
    """The digest in the lock; None where the lock has no such slot."""
    found: str | None
    """The digest of what is there; None where nothing is."""
    where: str = ""
    """Where it was looked for, or why nothing was found."""

    @property
    def words(self) -> str:
        """The difference as one line."""
        if self.expected is None:
            line = f"{self.slot}  not in the lock, found {self.found or 'nothing'}"
        elif self.found is None:
            line = f"{self.slot}  expected {self.expected}, found nothing"
        else:
            line = f"{self.slot}  expected {self.expected}, found {self.found}"
        return f"{line} ({self.where})" if self.where else line


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is there, held against a lock."""

    lock_name: str
    lock: Lock
    found: CompositeVersion
    """What is there; of what was not looked at, what the lock says."""
    differences: tuple[Difference, ...] = ()
    edges: tuple[str, ...] = ()
    """Edges that only one of both has, in words."""
    unchecked: Mapping[str, str] = field(default_factory=dict)
    """Slots that nobody looked at, and why."""

    @property
    def is_same(self) -> bool:
        """Whether nothing differs, of what was looked at."""
        return not self.differences and not self.edges

    @property
    def words(self) -> str:
        """All of it as text."""
        pinned = f"{self.lock.version[:_SHORT]} of {self.lock.composite.name!r}"
        if self.is_same:
            lines = [f"{self.lock_name} pins {pinned}, and that is what is here."]
        else:
            number = len(self.differences) + len(self.edges)
            verb = "one thing differs" if number == 1 else f"{number} things differ"
            lines = [f"{self.lock_name} pins {pinned}, but {verb}:"]
            lines += [f"  {one.words}" for one in self.differences]
            lines += [f"  {one}" for one in self.edges]
        if self.unchecked:
            lines.append("Not checked:")
            lines += [f"  {slot}  {why}" for slot, why in sorted(self.unchecked.items())]
        return "\n".join(lines)

    def error(self, hint: str) -> LockMismatchError:
        """Return the error that says all of it."""
        return LockMismatchError(self.words, hint=hint)


def compare(
    lock: Lock,
    description: Description,
    looking: Looking,
    *,
    lock_name: str,
    given: Iterable[Component] = (),
    skip: Iterable[str] = (),
) -> Comparison:
    """Return what differs between *lock* and what *looking* finds of *description*.

    *given* are components that an application made itself; slots of *skip* are not looked at.

    Raises:
        CompositeError: what is there makes no version.
    """
    looked = _looked(lock, description, looking, {one.slot: one for one in given}, set(skip))
    made = _made(lock, description, looked)
    return Comparison(
        lock_name,
        lock,
        made,
        differences=tuple(_differences(lock, made, looked, description)),
        edges=tuple(edge_words(lock.composite.edges, made.edges)),
        unchecked=looked.unchecked,
    )


def _made(lock: Lock, description: Description, looked: _Looked) -> CompositeVersion:
    """Return the version of what is there; of what nobody looked at, the lock's with its edges."""
    there = [one for one in looked.found.values() if one is not None]
    kept = _with_targets(lock, [one for one in there if one.slot in looked.kept], there)
    edges: list[EdgeLike] = []
    for line in description.edges:
        ends = (line.source, line.target)
        edges.append(ends if line.role is None else (*ends, line.role))
    edges += [(*edge,) for edge in lock.composite.edges if edge.source in looked.kept]
    slots = _slots([*there, *kept])
    usable = [one for one in edges if one[0] in slots and one[1] in slots]
    return composite(description.name, *there, *kept, edges=usable)


@dataclass(slots=True)
class _Looked:
    found: dict[str, Component | None] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    """Slots whose component is the lock's, since nobody looked."""
    unchecked: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def _looked(
    lock: Lock,
    description: Description,
    looking: Looking,
    given: Mapping[str, Component],
    skip: set[str],
) -> _Looked:
    pinned = lock.by_slot
    looked = _Looked()
    known = dict(given)
    for slot in sorted(skip & pinned.keys() - given.keys()):
        known[slot] = pinned[slot]
        looked.kept.add(slot)
        looked.unchecked[slot] = "as the application asked"
    resolver = Resolver(description, looking, known=known)
    for slot in sorted(given.keys() - description.slots):
        looked.found[slot] = given[slot]
    for part in _ordered(description):
        slot = part.slot
        try:
            looked.found[slot] = made = resolver.component(slot)
            if is_declared(made) and slot not in looked.unchecked:
                looked.unchecked[slot] = "declared: only its provider has it"
            continue
        except NotLookedError as reason:
            looked.unchecked[slot] = str(reason)
        except SystemFileError as error:
            looked.problems[slot] = error.message.partition(": ")[2].removesuffix(".")
        looked.kept.add(slot)
        looked.found[slot] = pinned.get(slot)
        if slot in pinned:
            resolver.know(pinned[slot])
    return looked


def _ordered(description: Description) -> list[Part]:
    """Return the parts, those that others pin first, so that what is kept is there for these."""
    late = ("index", "router")
    return sorted(description.parts, key=lambda part: (part.kind in late, part.kind == "router"))


def _with_targets(
    lock: Lock, kept: Sequence[Component], there: Sequence[Component]
) -> list[Component]:
    """Return the lock's components that *kept* ones need and nothing else brings."""
    pinned = lock.by_slot
    present = _slots(there)
    added: dict[str, Component] = {}
    todo = [one.slot for one in kept]
    while todo:
        source = todo.pop()
        for edge in lock.composite.edges:
            if edge.source == source and edge.target not in present | added.keys():
                added[edge.target] = pinned[edge.target]
                todo.append(edge.target)
    return list(added.values())


def _slots(components: Iterable[Component]) -> set[str]:
    """Return the slots of components and of all that they pin."""
    return {slot for one in components for slot in (one.slot, *_slots(one.parts))}


def _differences(
    lock: Lock, made: CompositeVersion, looked: _Looked, description: Description
) -> Iterator[Difference]:
    where = {part.slot: place_of(part) for part in description.parts}
    for one in component_differences(lock.composite, made):
        yield Difference(one.slot, one.expected, one.found, where.get(one.slot) or one.where)
    pinned = lock.by_slot
    for slot in sorted(looked.problems.keys() | description.slots - pinned.keys()):
        problem = looked.problems.get(slot, "it is described, and nobody looked")
        if slot in looked.kept:
            expected = pinned[slot].digest if slot in pinned else None
            yield Difference(slot, expected, None, problem)


def component_differences(expected: CompositeVersion, found: CompositeVersion) -> list[Difference]:
    """Return the slots in which two versions differ."""
    before = {part.slot: part.digest for part in expected.components}
    after = {part.slot: part.digest for part in found.components}
    return [
        Difference(slot, before.get(slot), after.get(slot), _why(slot, before, after))
        for slot in sorted(before.keys() | after.keys())
        if before.get(slot) != after.get(slot)
    ]


def edge_words(expected: Iterable[Edge], found: Iterable[Edge]) -> list[str]:
    """Return the edges that only one of two versions has, in words."""
    before, after = set(expected), set(found)
    gone = [f"{_edge(one)}  only in the lock" for one in sorted(before - after)]
    return gone + [f"{_edge(one)}  not in the lock" for one in sorted(after - before)]


def place_of(part: Part) -> str:
    """Return where a part is looked for, in words."""
    for key in ("path", "object", "uri"):
        if key in part.said:
            return str(part.said[key])
    return ""


def _why(slot: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    return "nothing describes it" if slot in before and slot not in after else ""


def _edge(edge: Edge) -> str:
    return f"{edge.source} -> {edge.target} ({edge.role})"
