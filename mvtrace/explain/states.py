"""A system state as one request shows it: what was declared, what was seen, and how two differ.

In: request records and manifests. Out: :class:`State` and :class:`Change`. A slot is a component's
``(kind, name)``. Nothing is guessed: a slot that only one of two states looked at is not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from mvtrace.digest import parse_canonical
from mvtrace.records import RequestRecord

Slot = tuple[str, str]

SERVED_MODEL: Final = "served_model"
"""The kind of a change in what a provider served; its values are names, not digests."""


class Edge(NamedTuple):
    """One component uses another, in a role."""

    origin: str
    target: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a composite version declares: a digest a slot, and who uses whom."""

    digests: Mapping[Slot, str]
    edges: tuple[Edge, ...] = ()


class Observation(NamedTuple):
    """The digest a slot had when the request used it."""

    slot: Slot
    digest: str
    expected: str | None
    span_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Declared and observed digests by slot; *declared* is None where no manifest is stored."""

    declared: Mapping[Slot, str] | None = None
    observed: Mapping[Slot, str] = field(default_factory=dict)
    served: Mapping[Slot, str] = field(default_factory=dict)
    """Model names by call, as the provider reported them."""


class Change(NamedTuple):
    """A slot whose state differs between a request and what serves now; None: not part of it."""

    kind: str
    name: str
    then: str | None
    now: str | None
    then_basis: str
    now_basis: str


def parse_manifest(body: bytes | str) -> Manifest | None:
    """Return the manifest of its canonical bytes, or None where they are none."""
    try:
        plain = parse_canonical(body)
        digests = {
            (str(item["kind"]), str(item["name"])): str(item["digest"])
            for item in plain["components"]
        }
        edges = tuple(
            Edge(str(edge["from"]), str(edge["to"]), str(edge.get("role", "")))
            for edge in plain.get("edges", ())
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return Manifest(digests=digests, edges=edges)


def observations(record: RequestRecord, declared: Mapping[Slot, str]) -> tuple[Observation, ...]:
    """Return every digest the request saw, each in its slot, in the order of the record.

    A router or an index may carry the name of its call; the declared slot it belongs to is then
    found by the call's component or by the digest.
    """
    seen: list[Observation] = []
    slots: dict[str | None, str | None] = {
        call.span_id: call.component for call in record.calls if call.span_id
    }
    for shot in record.index_snapshots:
        if shot.digest:
            slot = _slot("index", shot.name, slots.get(shot.span_id), declared, shot.expected)
            seen.append(Observation(slot, shot.digest, shot.expected, shot.span_id))
    for decision in record.router_decisions:
        if digest := decision.policy_digest:
            used = slots.get(decision.span_id)
            slot = _slot("router", decision.name, used, declared, digest)
            seen.append(Observation(slot, digest, declared.get(slot), decision.span_id))
    for call in record.calls:
        if call.prompt and call.prompt.template_digest:
            digest = call.prompt.template_digest
            slot = _slot("prompt", call.prompt.name or call.name, None, declared, digest)
            seen.append(Observation(slot, digest, declared.get(slot), call.span_id))
    seen.extend(_explicit(record, declared))
    return tuple(seen)


def state_of(record: RequestRecord | None, manifest: Manifest | None) -> State:
    """Return the state one request shows."""
    return latest_state([record] if record else [], manifest)


def latest_state(records: Sequence[RequestRecord], manifest: Manifest | None) -> State:
    """Return the state *records* of one composite version show, newest first: the newest wins."""
    declared = manifest.digests if manifest else {}
    observed: dict[Slot, str] = {}
    served: dict[Slot, str] = {}
    for record in records:
        for slot, digest in _drifting_first(observations(record, declared), declared).items():
            observed.setdefault(slot, digest)
        for call in record.calls:
            if call.model_served:
                served.setdefault((call.kind, call.name), call.model_served)
    return State(declared=manifest.digests if manifest else None, observed=observed, served=served)


def compare(then: State, now: State) -> tuple[Change, ...]:
    """Return the slots in which *now* differs from *then*, as far as both are known."""
    slots = {**(then.declared or {}), **(now.declared or {}), **then.observed, **now.observed}
    found = [change for slot in sorted(slots) if (change := _compare_slot(slot, then, now))]
    for slot in sorted(then.served.keys() & now.served.keys()):
        before, after = then.served[slot], now.served[slot]
        if before != after:
            found.append(Change(SERVED_MODEL, slot[1], before, after, "observed", "observed"))
    return tuple(found)


def plain_facts(body: bytes) -> dict[str, Any] | None:
    """Return the facts of a component's canonical *body*, or None where it has none."""
    try:
        facts = parse_canonical(body)["facts"]
    except (ValueError, TypeError, KeyError):
        return None
    return facts if isinstance(facts, dict) else None


def body_kind(body: bytes) -> str | None:
    """Return the kind a component's canonical *body* says it is of, or None where it says none."""
    try:
        kind = parse_canonical(body)["kind"]
    except (ValueError, TypeError, KeyError):
        return None
    return kind if isinstance(kind, str) else None


def _slot(
    kind: str, name: str, used: str | None, declared: Mapping[Slot, str], digest: str | None
) -> Slot:
    """Return the slot an observation of *kind* belongs to."""
    if used and used.startswith(f"{kind}/"):
        return kind, used.removeprefix(f"{kind}/")
    if (kind, name) in declared:
        return kind, name
    same = [slot for slot, pinned in declared.items() if slot[0] == kind and pinned == digest]
    return same[0] if len(same) == 1 else (kind, name)


def _explicit(record: RequestRecord, declared: Mapping[Slot, str]) -> Iterable[Observation]:
    """Yield what the record lists as observed, and what its drift notes say was seen."""
    for part in record.observed:
        slot = (part.kind, part.name)
        yield Observation(slot, part.digest, declared.get(slot), None)
    for drift in record.drift:
        if (drift.observed or "").startswith("sha256:") and drift.what != "fingerprint":
            slot = (drift.kind, drift.name)
            yield Observation(slot, str(drift.observed), drift.expected, drift.span_id)


def _drifting_first(seen: Iterable[Observation], declared: Mapping[Slot, str]) -> dict[Slot, str]:
    """Return one digest a slot: the last that differs from the declared one, else the last."""
    chosen: dict[Slot, str] = {}
    for one in seen:
        pinned = declared.get(one.slot, one.expected)
        if one.slot not in chosen or one.digest != pinned:
            chosen[one.slot] = one.digest
    return chosen


def _compare_slot(slot: Slot, then: State, now: State) -> Change | None:
    before, after = _effective(slot, then), _effective(slot, now)
    pinned_then, pinned_now = (then.declared or {}).get(slot), (now.declared or {}).get(slot)
    if before == after:
        return None
    if pinned_then == pinned_now and slot not in now.observed:
        return None  # the same declaration, and nobody looked since
    if before is None and (then.declared is None or slot not in (now.declared or {})):
        return None  # it may have been there, unseen
    if after is None and (now.declared is None or slot not in (then.declared or {})):
        return None
    return Change(
        *slot,
        before,
        after,
        "observed" if slot in then.observed else "declared",
        "observed" if slot in now.observed else "declared",
    )


def _effective(slot: Slot, state: State) -> str | None:
    return state.observed.get(slot) or (state.declared or {}).get(slot)
