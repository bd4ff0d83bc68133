"""What was read and holds until something new is stored.

In: somebody who tells the generation of a store, a value that changes with every load, as the
collector that owns an embedded store can. Out: results kept as long as it stays the same. Without
a generation nothing is kept: another process may have stored something.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

from mvtrace.store import rows
from mvtrace.store.statements import Statements

RECENT: Final = 16
"""How many of the newest requests tell what serves now: one of them will have asked each index."""
MAX_SERVICES: Final = 1_000
"""Services whose newest requests are remembered."""

Generation = Callable[[], Hashable]


class _Newest(NamedTuple):
    """The newest records of a service, from an id on; all of them where they are few."""

    generation: Hashable
    first: str
    records: tuple[tuple[str, bytes], ...]

    def tells(self, generation: Hashable, first: str) -> bool:
        """Whether the newest records from *first* on are known of this generation."""
        reaches = self.first <= first or len(self.records) == RECENT
        return generation is not None and self.generation == generation and reaches


class Memory:
    """Reads once a generation; safe for several threads, who at worst read twice."""

    def __init__(self, statements: Statements, generation: Generation | None = None) -> None:
        self._run = statements.run
        self._generation = generation or (lambda: None)
        self._newest: dict[tuple[str, str], _Newest] = {}
        self._in_use: tuple[Hashable, frozenset[str]] = (None, frozenset())

    def newest_records(self, service: str, environment: str, first: str) -> list[bytes]:
        """Return the bodies of the newest finished records from the request id *first* on."""
        generation = self._generation()
        where = (service, environment)
        known = self._newest.get(where)
        if known is None or not known.tells(generation, first):
            known = self._read_newest(where, first, generation)
        return [body for request_id, body in known.records if request_id >= first]

    def generation(self) -> Hashable:
        """Return what changes with everything that is stored; None where nobody tells."""
        return self._generation()

    def may_hold(self, table: str) -> bool:
        """Whether *table*, ``events`` or ``quarantine``, may hold rows of the project."""
        generation = self._generation()
        seen_at, in_use = self._in_use
        if generation is None or table in in_use:
            return True
        if generation != seen_at:
            in_use = frozenset(str(row[0]) for row in self._run("tables_in_use").rows)
            self._in_use = (generation, in_use)
        return table in in_use

    def _read_newest(self, where: tuple[str, str], first: str, generation: Hashable) -> _Newest:
        """Read from where they were found last time: newer ones can only have been added."""
        known = self._newest.get(where)
        if known is not None and len(known.records) == RECENT:
            first = max(first, known.records[-1][0]) if generation is None else known.records[-1][0]
        found = self._run(
            "recent_records",
            request_id=first.replace("-", ""),
            service=where[0],
            environment=where[1],
            limit=2 * RECENT,
        )
        read = _Newest(generation, first, tuple(rows.newest_records(found.rows)[:RECENT]))
        if len(read.records) == RECENT or generation is not None:
            if len(self._newest) >= MAX_SERVICES:
                self._newest.clear()
            self._newest[where] = read
        return read
