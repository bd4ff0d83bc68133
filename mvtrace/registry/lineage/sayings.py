"""What derivations say beside their edges: name, reason, run, and under whose key they came.

In: an Ask and the sources of edges. Out: by digest what was said, for JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from mvtrace.registry.entries import Entry, read_entries
from mvtrace.registry.reading import Ask, statement

MOST: Final = 1_000
"""Derivations that are looked up; of a larger graph the edges name the rest."""
_SAID: Final = ("name", "reason", "run", "how")


def sayings(ask: Ask, sources: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return by digest what the derivations among *sources* say."""
    digests = [source for source in dict.fromkeys(sources) if source][:MOST]
    if not digests:
        return {}
    rows = ask(statement("lineage_derivations"), {"digests": digests})
    found = ((row, entry) for row in rows for entry in read_entries([row["body"]]))
    return {row["digest"]: _saying(row, entry) for row, entry in found}


def _saying(row: dict[str, Any], entry: Entry) -> dict[str, Any]:
    said = entry.said
    by = f"{row['actor']} ({row['actor_label']})" if row["actor_label"] else row["actor"]
    return {**{key: said[key] for key in _SAID if said.get(key)}, "by": by}
