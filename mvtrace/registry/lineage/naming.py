"""What somebody may mean by a text: a ref, an id, the beginning of a digest, a slot, a name.

In: an Ask and a text. Out: the one thing that it names, and what people call it. Files are left
out: what hashes them knows the ref.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from mvtrace.ids import UUID7_PATTERN
from mvtrace.registry.errors import AmbiguousEntryError, EntryNotFoundError
from mvtrace.registry.reading import Ask, in_parts, statement
from mvtrace.registry.refs import KINDS, REQUEST, Ref

MIN_DIGITS: Final = 8
MAX_TEXT: Final = 512
_HEX: Final = re.compile(rf"[0-9a-f]{{{MIN_DIGITS},64}}")
_DIGITS: Final = 64
_EVENT_DIGITS: Final = 32
_MOST: Final = 20
"""Things of a kind that are told apart; a statement gives one more."""
_SLOT: Final = re.compile(r"([a-z_]{1,40}/.{1,256}?)@(?:sha256:)?([0-9a-f]{8,64})")
_WHAT: Final = "thing"
_HINT: Final = (
    "Things are named by kind:digest, the first 8 digits, kind/name of a component, a name, "
    "a request's id, a deployment's id, or a path."
)


class Named(NamedTuple):
    """What a text names."""

    ref: Ref
    name: str = ""
    note: str = ""
    """How the text came to mean it, where that is not plain."""
    composite: Ref | None = None
    """Of a request: the version that answered it, where its record names one."""
    is_registered: bool = True
    """False of a whole digest that nothing registered has: derivations may name it all the same."""


def named(ask: Ask, text: str) -> Named:
    """Return the one thing that *text* names.

    Raises:
        EntryNotFoundError: nothing does it name.
        AmbiguousEntryError: several things.
    """
    said = text.strip()
    if not said or len(said) > MAX_TEXT:
        raise EntryNotFoundError(_WHAT, said, hint=_HINT)
    kind, rest = split_kind(said)
    digits = rest.lower().removeprefix("sha256:")
    if kind in ("", REQUEST) and UUID7_PATTERN.fullmatch(digits):
        return _request(ask, digits)
    found = _by_digits(ask, kind, digits) or _by_slot(ask, said)
    return found or _called(ask, kind, rest if kind else said)


def split_kind(text: str) -> tuple[str, str]:
    """Return the kind before the first colon, if it is one, and the rest."""
    kind, _, rest = text.partition(":")
    return (kind, rest) if kind in KINDS else ("", text)


def _by_digits(ask: Ask, kind: str, digits: str) -> Named | None:
    if not _HEX.fullmatch(digits):
        return None
    found = _starting(ask, kind, digits)
    if found is None and kind and len(digits) == _DIGITS:
        return Named(Ref(kind, digits), is_registered=False)
    return found


def _by_slot(ask: Ask, text: str) -> Named | None:
    """Return the component of ``slot@digits``; None where no version has it in that slot."""
    slot = _SLOT.fullmatch(text)
    if slot is None:
        return None
    rows = ask(statement("lineage_in_slot"), {"slot": slot[1], "prefix": slot[2]})
    if len(rows) > 1:
        hits = [f"component:{row['component']} {slot[1]}" for row in rows]
        raise AmbiguousEntryError("component", text, hits)
    return Named(Ref("component", rows[0]["component"]), slot[1]) if rows else None


def names_of(ask: Ask, refs: Iterable[Ref]) -> dict[Ref, str]:
    """Return what people call those of *refs* that have a name."""
    named_ones = [ref for ref in refs if ref.kind not in ("artifact", REQUEST)]
    return {
        Ref(row["kind"], row["digest"]): row["name"]
        for part in in_parts(named_ones)
        for row in ask(statement("lineage_names"), _asked_names(part))
        if row["name"]
    }


def _asked_names(refs: Sequence[Ref]) -> Mapping[str, list[str]]:
    by_kind: dict[str, list[str]] = {}
    for ref in refs:
        by_kind.setdefault(ref.kind, []).append(ref.digest)
    entries = [
        f"sha256:{digest}"
        for kind, digests in by_kind.items()
        if kind not in ("component", "composite", "dataset")
        for digest in digests
    ]
    return {
        "composites": by_kind.get("composite", []),
        "components": [f"sha256:{digest}" for digest in by_kind.get("component", [])],
        "datasets": by_kind.get("dataset", []),
        "entries": entries,
    }


def _request(ask: Ask, request_id: str) -> Named:
    rows = ask(statement("lineage_request"), {"request": request_id.replace("-", "")})
    if not rows:
        raise EntryNotFoundError(REQUEST, request_id, hint="'mvtrace find' lists requests.")
    version = rows[0]["composite_version"]
    return Named(
        Ref(REQUEST, request_id),
        note="" if version else "its record names no version",
        composite=Ref("composite", version) if version else None,
    )


def _starting(ask: Ask, kind: str, digits: str) -> Named | None:
    """Return the one thing of *kind*, an empty one being any, whose digest starts so."""
    found = ask(statement("lineage_starting"), {"prefix": digits, "kind": kind})
    if len(found) == 1:
        row = found[0]
        return Named(Ref(row["kind"], row["digest"]), row["name"])
    if not found and len(digits) <= _EVENT_DIGITS and not kind:
        return _deployment(ask, digits)
    if found:
        raise AmbiguousEntryError(kind or _WHAT, digits, _listed(found))
    return None


def _deployment(ask: Ask, digits: str) -> Named | None:
    rows = ask(statement("lineage_deployment"), {"prefix": digits})
    if len(rows) > 1:
        raise AmbiguousEntryError("deployment", digits, [row["event"] for row in rows])
    if not rows:
        return None
    row = rows[0]
    note = f"{row['action']} {row['event']} for {row['service']} in {row['environment']}"
    return Named(Ref("composite", row["composite"]), note=note)


def _called(ask: Ask, kind: str, name: str) -> Named:
    """Return what is called *name*: versions of one name are many, and the newest is meant."""
    found = ask(statement("lineage_called"), {"name": name, "kind": kind})
    if not found:
        raise EntryNotFoundError(kind or _WHAT, name, hint=_HINT)
    if len({row["kind"] for row in found}) > 1:
        raise AmbiguousEntryError(kind or _WHAT, name, _listed(_by_turns(found)))
    newest = found[0]
    number = str(len(found)) if len(found) <= _MOST else f"over {_MOST}"
    note = f"the newest of {number} of this name" if len(found) > 1 else ""
    return Named(Ref(newest["kind"], newest["digest"]), newest["name"], note)


def _by_turns(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest of each kind first, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    turns: list[int] = []
    for row in rows:
        turns.append(seen[row["kind"]])
        seen[row["kind"]] += 1
    return [row for _, row in sorted(zip(turns, rows, strict=True), key=lambda pair: pair[0])]


def _listed(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{row['kind']}:{row['digest']} {row['name']}".rstrip() for row in rows]
