"""Look up what a version was made from, for its explanation: bounded, and kept while it holds.

In: a composite version. Out: its :class:`Ancestry`; None where no derivation is recorded in the
project, which is known by heart where the collector owns its store. A walk is many look-ups, and
much else is stored meanwhile: it is repeated only once more derivations or certificates are there.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final, NamedTuple

from mvtrace.errors import StatementFailedError
from mvtrace.explain.ancestry import Ancestry
from mvtrace.registry.entries import read_entries
from mvtrace.registry.lineage.derivations import HISTORY_ROLES
from mvtrace.registry.lineage.walking import walk
from mvtrace.registry.reading import statement
from mvtrace.registry.refs import Ref
from mvtrace.store.memory import Memory
from mvtrace.store.statements import Statements

MAX_DEPTH: Final = 16
MAX_NODES: Final = 300
MAX_CERTIFICATES: Final = 50
"""Certificates that are read: those that found something first, then the newest."""
MAX_KEPT: Final = 256
UNKNOWN_TABLE: Final = 60
_TRAINED: Final = ("artifact", "component", "composite", "dataset")


class _Kept(NamedTuple):
    """What was found, and of what state of the store that holds."""

    generation: Hashable
    recorded: tuple[Any, ...]
    is_registered: bool
    """Whether anything is known of the version at all."""
    found: Ancestry | None


class Ancestors:
    """Looks ancestries up; safe for several threads, who at worst look twice."""

    def __init__(self, statements: Statements, memory: Memory) -> None:
        self._run = statements.run_text
        self._memory = memory
        self._kept: dict[str, _Kept] = {}

    def of(self, version: str | None) -> Ancestry | None:
        """Return what *version* was made from, as far as anybody recorded it."""
        if not version or not self._memory.may_hold("derivations"):
            return None
        generation = self._memory.generation()
        kept = self._kept.get(version)
        if kept and generation is not None and kept.generation == generation:
            return kept.found
        try:
            recorded = self._run(statement("lineage_recorded"), {}).rows[0]
            if kept is None or kept.recorded != recorded:
                kept = self._looked_up(version, generation, recorded)
        except StatementFailedError as error:
            if error.store_code != UNKNOWN_TABLE:
                raise
            return None
        if kept.is_registered:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[version] = kept._replace(generation=generation)
        return kept.found

    def _looked_up(self, version: str, generation: Hashable, recorded: tuple[Any, ...]) -> _Kept:
        if not recorded[0]:
            return _Kept(generation, recorded, is_registered=False, found=None)
        graph = walk(
            self._ask,
            Ref("composite", version),
            direction="up",
            max_depth=MAX_DEPTH,
            max_nodes=MAX_NODES,
            without=HISTORY_ROLES,
        )
        if not any(edge.source for edge in graph.edges):
            return _Kept(generation, recorded, bool(graph.edges), None)
        refs = [str(ref) for ref in graph.nodes if ref.kind in _TRAINED]
        asked = {"refs": refs, "limit": MAX_CERTIFICATES}
        has_data = bool(graph.of_kind("dataset"))
        rows = self._ask(statement("leakage_certificates"), asked) if has_data else []
        certificates = tuple(read_entries(row["body"] for row in rows))
        return _Kept(generation, recorded, is_registered=True, found=Ancestry(graph, certificates))

    def _ask(self, text: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return list(self._run(text, parameters).dicts())
