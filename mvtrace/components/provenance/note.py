"""A note of where a component comes from: beside the component, and in no digest.

Law: the same bytes are the same component, wherever they were found and whoever signed them. A note
says what it was read from (*source*) and how it is known (*basis*): ``declared`` is what somebody
wrote down, ``observed`` what was found by looking, ``verified`` what was recomputed and matched.
Values come from files of strangers: they are cut to a length, and only plain values are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mvtrace.digest import canonical_bytes

Basis = Literal["declared", "observed", "verified"]

MAX_FACTS: Final = 32
MAX_TEXT: Final = 256
MAX_ITEMS: Final = 16
MAX_NOTES: Final = 8
"""Notes of one component."""
MAX_NOTES_BYTES: Final = 32_768
"""Notes of all components of a version, as they travel."""
_SAFE: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Note:
    """What one source says about a component."""

    source: str
    """``safetensors``, ``gguf``, ``huggingface``, ``model-signing``, ``oci`` or ``git``."""
    basis: Basis
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the note as plain JSON values within the limits."""
        facts = list(self.facts.items())[:MAX_FACTS]
        plain = {_cut(key): _plain(value) for key, value in facts if value is not None}
        return {"source": self.source, "basis": self.basis, "facts": plain}


def notes_by_slot(named: Iterable[tuple[str, Iterable[Note]]]) -> dict[str, list[dict[str, Any]]]:
    """Return the notes of components by ``kind/name``, as many as may travel with a version."""
    found: dict[str, list[dict[str, Any]]] = {}
    size = 2
    for slot, notes in named:
        plain = [note.to_dict() for note in notes][:MAX_NOTES]
        size += len(canonical_bytes({slot: plain})) if plain else 0
        if plain and size <= MAX_NOTES_BYTES:
            found[slot] = plain
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _SAFE else str(value)[:MAX_TEXT]
    if isinstance(value, Mapping):
        return {_cut(key): _plain(one) for key, one in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value[:MAX_ITEMS]]
    return _cut(value)


def _cut(value: object) -> str:
    text = str(value).encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
