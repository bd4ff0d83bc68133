"""What a service was seen to consist of: one component a slot, and what of it changed.

In: the components that a request met, and when it began. Out: the slots known so far with those of
this request on top, and what changed by it. No I/O, no clock, no threads: whoever holds it locks.

A version made of what is seen must settle. So a slot, once met, stays although a request does not
use it; a request that began before a change does not undo it; what callers may choose (sampling)
counts as state only after it was the same several times in a row; and a slot that shows more than
``MAX_DIGESTS`` digests within an hour, or returns to a former one again and again, says nothing
about the system: it is *volatile*, on the records and in no version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mvtrace.components.component import Component

Slot = tuple[str, str]

HOUR_S: Final = 3600.0
MAX_DIGESTS: Final = 20
"""Digests of one slot within an hour; with more it is volatile."""
MAX_RETURNS: Final = 5
"""Returns to a former digest within an hour; with more the slot is chosen a request."""
CHOSEN_BY_CALLERS: Final = frozenset({"sampling"})
"""Kinds whose value may come from whoever calls: state only if it is always the same."""
STEADY: Final = 3
"""So often in a row must such a value be met."""
FORGOTTEN_AFTER_S: Final = 7 * 86_400.0
"""A slot that nobody met for so long is no part of the system any more."""
MAX_SLOTS: Final = 500
"""Slots of one service; further ones are counted and stay out of the version."""


class Change(NamedTuple):
    """What a request showed to be new: another digest in a slot, or that the slot is volatile."""

    slot: Slot
    before: str | None
    now: str
    is_volatile: bool = False


@dataclass(slots=True)
class Known:
    """One slot: what it holds, and since when. Times are Unix seconds."""

    component: Component | None
    """None where the slot is volatile, or its value was not yet steady."""
    changed_at: float
    seen_at: float
    is_volatile: bool = False
    recent: dict[str, float] = field(default_factory=dict)
    """When each digest of the last hour was met last."""
    returned: list[float] = field(default_factory=list)
    """When it went back to a digest that it had before."""
    candidate: str | None = None
    """Of a kind that callers may choose: the value met last …"""
    times: int = 0
    """… and how often in a row."""


class Seen(NamedTuple):
    """What one request adds up to."""

    components: tuple[Component, ...]
    """Every slot known, by slot, those of the request as the request met them."""
    changes: tuple[Change, ...]
    is_new: bool
    """Whether something became known that others should learn of."""


class Slots:
    """The slots of one service, as one process knows them."""

    def __init__(self) -> None:
        self._known: dict[Slot, Known] = {}
        self.overflowed = 0
        """Components that found no room."""

    def __len__(self) -> int:
        return len(self._known)

    def items(self) -> Iterator[tuple[Slot, Known]]:
        """Yield every slot with what is known of it."""
        return iter(self._known.items())

    def see(self, met: Iterable[Component], *, began_at: float, now: float) -> Seen:
        """Take what a request *met* that *began_at*, and return what serves, with its changes."""
        own: dict[Slot, Component] = {}
        changes: list[Change] = []
        is_new = False
        for component in met:
            slot = component.kind, component.name
            before = self._known.get(slot)
            was = None if before is None else (before.component, before.is_volatile)
            change = self._meet(slot, component, began_at, now)
            after = self._known.get(slot)
            if after is None or after.is_volatile:
                own.pop(slot, None)
            elif component.kind not in CHOSEN_BY_CALLERS:
                own[slot] = component
            is_new = is_new or (after is not None and (after.component, after.is_volatile) != was)
            if change is not None:
                changes.append(change)
        return Seen(self._overlaid(own), tuple(changes), is_new)

    def components(self) -> tuple[Component, ...]:
        """Return what is known to serve, by slot."""
        return self._overlaid({})

    def _overlaid(self, own: Mapping[Slot, Component]) -> tuple[Component, ...]:
        held = {slot: known.component for slot, known in self._known.items() if known.component}
        held.update(own)
        return tuple(held[slot] for slot in sorted(held))

    def _meet(self, slot: Slot, component: Component, began_at: float, now: float) -> Change | None:
        known = self._known.get(slot)
        if known is None:
            if len(self._known) >= MAX_SLOTS:
                self.overflowed += 1
                return None
            known = self._known[slot] = Known(None, now, now)
        known.seen_at = max(known.seen_at, now)
        if known.is_volatile:
            return None
        is_former = _note(known, component.digest, now)
        before = known.component
        if not _is_known_already(known, component, began_at):
            if before is not None and is_former:
                known.returned.append(now)
            known.component, known.changed_at = component, now
        if len(known.recent) > MAX_DIGESTS or len(known.returned) > MAX_RETURNS:
            make_volatile(known)
            return Change(slot, _digest_of(before), component.digest, is_volatile=True)
        if before is None or known.component is before:
            return None
        return Change(slot, before.digest, component.digest)

    # What other processes of the service know

    def adopt(self, slot: Slot, other: Known) -> bool:
        """Take what *other* knows better of *slot*; returns whether anything became different."""
        mine = self._known.get(slot)
        if mine is None:
            if len(self._known) >= MAX_SLOTS:
                return False
            self._known[slot] = other
            return True
        differs = False
        since = max(mine.seen_at, other.seen_at) - HOUR_S
        both = {**other.recent, **mine.recent}
        mine.recent = {digest: at for digest, at in both.items() if at > since}
        is_many = len(mine.recent) > MAX_DIGESTS
        if (other.is_volatile or is_many) and not mine.is_volatile:
            make_volatile(mine)
            differs = True
        elif _is_newer(other, mine):
            differs = _digest_of(other.component) != _digest_of(mine.component)
            mine.component, mine.changed_at = other.component, other.changed_at
        mine.seen_at = max(mine.seen_at, other.seen_at)
        return differs

    def forget(self, now: float) -> bool:
        """Drop what nobody met for ``FORGOTTEN_AFTER_S``; returns whether there was any."""
        old = [
            slot for slot, known in self._known.items() if known.seen_at < now - FORGOTTEN_AFTER_S
        ]
        for slot in old:
            del self._known[slot]
        return bool(old)


def make_volatile(known: Known) -> None:
    """Let the slot say nothing about the system any more."""
    known.is_volatile, known.component = True, None
    known.recent.clear()
    known.returned.clear()


def _note(known: Known, digest: str, now: float) -> bool:
    """Note that *digest* was met; returns whether it was met before, within the hour."""
    since = now - HOUR_S
    if digest not in known.recent:
        known.recent = {one: at for one, at in known.recent.items() if at > since}
    known.returned = [at for at in known.returned if at > since]
    is_former = digest in known.recent
    known.recent[digest] = now
    return is_former


def _is_known_already(known: Known, component: Component, began_at: float) -> bool:
    """Whether meeting *component* says nothing new: the same, one of before, or not steady yet."""
    if component.kind in CHOSEN_BY_CALLERS:
        if known.candidate != component.digest:
            known.candidate, known.times = component.digest, 0
        known.times += 1
        if known.times < STEADY:
            return True
    held = known.component
    return held is not None and (held.digest == component.digest or began_at < known.changed_at)


def _is_newer(other: Known, mine: Known) -> bool:
    """Whether *other* tells a change that this process has not met, nor met the contrary since."""
    if mine.is_volatile or other.component is None:
        return False
    return mine.component is None or other.changed_at > mine.seen_at


def _digest_of(component: Component | None) -> str | None:
    return None if component is None else component.digest
