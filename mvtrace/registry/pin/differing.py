"""Two versions compared by component: facts by key, texts as unified diffs, files by path. Pure.

In: two versions and the texts that are registered. Out: a Diff. Where a text is not registered its
digests are told, and that its words are not known; a text too long to compare is told by its lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from mvtrace.registry.pin.comparing import edge_words
from mvtrace.registry.pin.versions import (
    TextRef,
    Version,
    VersionPart,
    as_text_ref,
    text_refs,
)

MAX_LINES: Final = 20_000
"""Of either text; comparing more takes longer than anybody waits."""
MAX_WORK: Final = 4_000_000
"""Product of the lines that remain to be compared; time grows with it."""
CONTEXT: Final = 3
_POLICY: Final = "policy"
_LISTING: Final = "artifact.listing"

Texts = Callable[[Iterable[TextRef]], Mapping[str, str]]
"""References -> the registered texts by digest."""


@dataclass(frozen=True, slots=True)
class FactChange:
    """One key whose value differs; None: the key is not there."""

    key: str
    before: str | None
    after: str | None
    """JSON text."""


@dataclass(frozen=True, slots=True)
class TextChange:
    """One text that differs."""

    key: str
    lines: tuple[str, ...]
    """A unified diff, without its two head lines."""
    note: str = ""
    """Why there is no diff."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file of an artifact that differs; sizes in bytes, None where it is not there."""

    path: str
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class PartDiff:
    """What differs in one slot."""

    slot: str
    change: str
    """``added``, ``removed``, ``changed`` or ``relabelled``."""
    before: VersionPart | None
    after: VersionPart | None
    facts: tuple[FactChange, ...] = ()
    texts: tuple[TextChange, ...] = ()
    files: tuple[FileChange, ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "slot": self.slot,
            "change": self.change,
            "before": _part_said(self.before),
            "after": _part_said(self.after),
            "facts": [
                {"key": one.key, "before": one.before, "after": one.after} for one in self.facts
            ],
            "texts": [
                {"key": one.key, "diff": list(one.lines), "note": one.note or None}
                for one in self.texts
            ],
            "files": [
                {"path": one.path, "before": one.before, "after": one.after} for one in self.files
            ],
            "note": self.note or None,
        }


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two versions."""

    before: Version
    after: Version
    parts: tuple[PartDiff, ...]
    edges: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether both are one version."""
        return self.before.version == self.after.version

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "before": _version_said(self.before),
            "after": _version_said(self.after),
            "is_same": self.is_same,
            "components": [one.to_dict() for one in self.parts],
            "edges": list(self.edges),
        }


def changed_slots(before: Version, after: Version) -> dict[str, list[str]]:
    """Return the slots that were ``added``, ``removed`` and ``changed``, those of each sorted."""
    found: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}
    for slot in sorted(before.parts.keys() | after.parts.keys()):
        change = _change(before.parts.get(slot), after.parts.get(slot))
        if change in found:
            found[change].append(slot)
    return found


def diff(before: Version, after: Version, texts: Texts) -> Diff:
    """Return what differs; *texts* is asked once, for the texts that differ.

    Of a version that is not registered nothing is known to differ.
    """
    if not before.is_known or not after.is_known:
        return Diff(before, after, (), ())
    pairs = [
        (slot, before.parts.get(slot), after.parts.get(slot))
        for slot in sorted(before.parts.keys() | after.parts.keys())
    ]
    pairs = [pair for pair in pairs if _change(pair[1], pair[2])]
    known = texts(_differing_texts(pairs))
    parts = tuple(_part_diff(slot, old, new, known) for slot, old, new in pairs)
    edges = [
        line.replace("only in the lock", "removed").replace("not in the lock", "added")
        for line in edge_words(before.edges, after.edges)
    ]
    return Diff(before, after, parts, tuple(edges))


def _change(old: VersionPart | None, new: VersionPart | None) -> str:
    if old is None:
        return "added"
    if new is None:
        return "removed"
    if old.digest != new.digest:
        return "changed"
    return "relabelled" if old.label != new.label else ""


def _differing_texts(
    pairs: Iterable[tuple[str, VersionPart | None, VersionPart | None]],
) -> list[TextRef]:
    wanted: list[TextRef] = []
    for _, old, new in pairs:
        if old is None or new is None or old.facts is None or new.facts is None:
            continue
        before = {one.key: one for one in text_refs(old.facts)}
        after = {one.key: one for one in text_refs(new.facts)}
        for key in before.keys() & after.keys():
            if before[key].digest != after[key].digest:
                wanted += [before[key], after[key]]
    return wanted


def _part_diff(
    slot: str, old: VersionPart | None, new: VersionPart | None, known: Mapping[str, str]
) -> PartDiff:
    change = _change(old, new)
    if old is None or new is None or change == "relabelled":
        return PartDiff(slot, change, old, new)
    if old.facts is None or new.facts is None:
        which = "both are" if old.facts is None and new.facts is None else "one of both is"
        return PartDiff(slot, change, old, new, note=f"{which} not registered: digests alone")
    facts: list[FactChange] = []
    texts: list[TextChange] = []
    files: list[FileChange] = []
    before, after = _leaves(old.facts), _leaves(new.facts)
    for key in sorted(before.keys() | after.keys()):
        one, other = before.get(key), after.get(key)
        if key in before and key in after and one == other:
            continue
        first, second = as_text_ref(one, key), as_text_ref(other, key)
        if key == _LISTING and first and second:
            files += _files(known.get(first.digest), known.get(second.digest))
        elif first and second:
            texts.append(_text_change(first, second, known))
        elif key == _POLICY and key in before and key in after:
            texts.append(TextChange(key, *unified(_pretty(one), _pretty(other))))
        else:
            facts.append(FactChange(key, _json(before, key), _json(after, key)))
    return PartDiff(slot, change, old, new, tuple(facts), tuple(texts), tuple(files))


def _leaves(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of *facts* by key; a text, a policy and a list of values are one value."""
    return {key: one for name, value in facts.items() for key, one in _walked(name, value)}


def _walked(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if key == _POLICY or not value or as_text_ref(value, key) is not None:
        yield key, value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _walked(f"{key}.{name}", one)
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        for number, one in enumerate(value):
            yield from _walked(f"{key}[{number}]", one)
    else:
        yield key, value


def _text_change(first: TextRef, second: TextRef, known: Mapping[str, str]) -> TextChange:
    before, after = known.get(first.digest), known.get(second.digest)
    if before is None or after is None:
        which = "neither text is" if before is None and after is None else "one of both texts is"
        sizes = f"{first.size:,} and {second.size:,} bytes"
        return TextChange(first.key, (), f"{which} registered, so only digests are known; {sizes}")
    return TextChange(first.key, *unified(_readable(before), _readable(after)))


def unified(before: str, after: str) -> tuple[tuple[str, ...], str]:
    """Return the unified diff of two texts, or no lines and why there is none."""
    if before.endswith("\n") and after.endswith("\n"):
        before, after = before[:-1], after[:-1]
    old, new = before.split("\n"), after.split("\n")
    if max(len(old), len(new)) > MAX_LINES:
        return (), f"too long to compare: {len(old):,} and {len(new):,} lines"
    if len(old) * len(new) > MAX_WORK:
        return _around(old, new)
    import difflib  # noqa: PLC0415 (3 ms of an import, for a command that compares texts)

    lines = list(difflib.unified_diff(old, new, n=CONTEXT, lineterm=""))[2:]
    return tuple(lines), ""


def _around(old: list[str], new: list[str]) -> tuple[tuple[str, ...], str]:
    """Return a diff of long texts: what lies between their equal beginnings and ends."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    gone, came = old[start : len(old) - end], new[start : len(new) - end]
    head = f"@@ -{start + 1},{len(gone)} +{start + 1},{len(came)} @@"
    if len(gone) * len(came) > MAX_WORK:
        return (), f"too much differs to be shown: {len(gone):,} and {len(came):,} lines"
    return (head, *(f"-{line}" for line in gone), *(f"+{line}" for line in came)), ""


def _files(before: str | None, after: str | None) -> Iterator[FileChange]:
    """Yield the files that differ between two listings; none where one is not registered."""
    old, new = _listed(before), _listed(after)
    if old is None or new is None:
        return
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            yield FileChange(path, _size(old, path), _size(new, path))


def _listed(text: str | None) -> dict[str, tuple[str, int]] | None:
    """Return digest and size by path; None where the text is no listing."""
    if text is None:
        return None
    try:
        return {
            str(one["path"]): (str(one["digest"]), int(one["bytes"]))
            for one in orjson.loads(text)["files"]
        }
    except (ValueError, TypeError, KeyError):
        return None


def _size(listing: Mapping[str, tuple[str, int]], path: str) -> int | None:
    return listing[path][1] if path in listing else None


def _readable(text: str) -> str:
    """Return JSON texts, as of tool definitions, with a value a line."""
    if text[:1] not in ("[", "{"):
        return text
    try:
        return _pretty(json.loads(text))
    except (ValueError, RecursionError):
        return text


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def _json(leaves: Mapping[str, Any], key: str) -> str | None:
    if key not in leaves:
        return None
    return json.dumps(leaves[key], sort_keys=True, ensure_ascii=False)


def _part_said(part: VersionPart | None) -> dict[str, Any] | None:
    return None if part is None else {"digest": part.digest, "label": part.label}


def _version_said(one: Version) -> dict[str, Any]:
    return {"version": one.version, "name": one.name, "is_registered": one.is_known}
