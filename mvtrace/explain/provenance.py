"""Where the parts of a version come from, as it was registered with it: notes by slot.

In: JSON text that some application has sent. Out: notes whose shape is known, by ``kind/name``;
what has another shape is left out. What they say was found by whoever pinned the part.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

BASES: Final = ("declared", "observed", "verified")
MAX_NOTES: Final = 8
MAX_FACTS: Final = 32

Notes = Mapping[str, tuple[Mapping[str, Any], ...]]


@lru_cache(maxsize=256)
def notes_in(text: str) -> Notes:
    """Return the notes in *text* by slot."""
    if not text:
        return {}
    try:
        plain = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(plain, dict):
        return {}
    return {
        slot: tuple(filter(None, map(_note, notes[:MAX_NOTES])))
        for slot, notes in plain.items()
        if isinstance(notes, list)
    }


def _note(plain: Any) -> Mapping[str, Any] | None:
    if not isinstance(plain, dict) or plain.get("basis") not in BASES:
        return None
    source, facts = plain.get("source"), plain.get("facts")
    if not isinstance(source, str) or not isinstance(facts, dict):
        return None
    return {
        "source": source[:64],
        "basis": plain["basis"],
        "facts": dict(list(facts.items())[:MAX_FACTS]),
    }
