"""Adapter for tables of sqlite-vec (``vec0``) in SQLite, over the connection that is queried.

The signal is SQLite's own: what this connection changed, whether it is in a transaction, and the
counters that move when another connection commits and when tables are made or dropped. A change is
seen with the next query. These count for the whole file: after several hashes that found nothing
new, other tables are what is written, and the vector table is then told changed by its rows' number
and a few of its vectors; the rest is found by the rehash after MAX_AGE_S.

Works with the connections of ``sqlite3``, ``pysqlite3`` and ``apsw``, from whichever the extension
was loaded into. A connection that refuses other threads refuses them here too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

from mvtrace.components.fingerprint import METHOD_COUNTERS
from mvtrace.components.index_rows import MAX_IDS, Row, fingerprint_of
from mvtrace.components.index_source import SnapshotFacts

_VECTOR: Final = re.compile(
    r"(\w+)\s+(float|f32|int8|i8|bit)\s*\[(\d+)\](?:\s+distance_metric\s*=\s*(\w+))?", re.IGNORECASE
)
_DEFAULT_METRIC: Final = "l2"
_NUMBER_BYTES: Final = 4
_TABLES: Final = (
    "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql LIKE '%using%vec0%'"
)
_IDLE_HASHES: Final = 8
"""After so many hashes without another result, other tables are what is written."""
_PROBES: Final = 4


class SqliteVecIndex:
    """A ``vec0`` table as an IndexSource."""

    def __init__(self, connection: Any, table: str, definition: str) -> None:
        self._connection = connection
        self._table = table
        self._name = '"' + table.replace('"', '""') + '"'
        self._vectors = {
            name: (int(size), (metric or _DEFAULT_METRIC).lower())
            for name, _, size, metric in _VECTOR.findall(definition)
        }
        self._settings = " ".join(definition[definition.find("(") + 1 : -1].split())
        columns = self._rows(f"PRAGMA table_info({self._name})")
        self._key = next((row[1] for row in columns if row[5]), "rowid")
        self._columns = [row[1] for row in columns]
        self._hashed: str | None = None
        self._idle = 0

    @classmethod
    def over(cls, live: Any, collection: str | None = None) -> Self | None:
        """Return the adapter over the table *collection*, or over the only one there is.

        None for what is no connection, and where that table, or a single one, is not there.
        """
        if not all(hasattr(live, name) for name in ("execute", "total_changes")):
            return None
        tables = {name: sql for name, sql in live.execute(_TABLES) if collection in (None, name)}
        if len(tables) != 1:
            return None
        [(table, definition)] = tables.items()
        return cls(live, table, definition)

    @property
    def size(self) -> int:
        """How many vectors it holds."""
        return int(self._rows(f"SELECT count(*) FROM {self._name}")[0][0])

    @property
    def is_exact(self) -> bool:
        """Whether the signal shows every change."""
        return self._idle < _IDLE_HASHES

    def change_signal(self) -> Hashable:
        """Return SQLite's counters; where others are always writing, a look at the table."""
        if not self.is_exact:
            return self._probe()
        connection = self._connection
        total: int | Callable[[], int] = connection.total_changes
        return (
            total() if callable(total) else total,
            connection.in_transaction,
            self._rows("PRAGMA data_version")[0][0],
            self._rows("PRAGMA schema_version")[0][0],
        )

    def snapshot(self) -> SnapshotFacts:
        """Return the fingerprint of all columns of all rows, or of a sample of the rows."""
        ids = [row[0] for row in self._rows(f"SELECT {self._key} FROM {self._name}")]
        method, fingerprint = METHOD_COUNTERS, None
        if len(ids) <= MAX_IDS:
            row_bytes = sum(size for size, _ in self._vectors.values()) * _NUMBER_BYTES
            method, fingerprint = fingerprint_of(ids, self._read, row_bytes=row_bytes)
        self._idle = self._idle + 1 if fingerprint == self._hashed else 0
        self._hashed = fingerprint
        only = next(iter(self._vectors.values())) if len(self._vectors) == 1 else (None, None)
        return SnapshotFacts(
            fingerprint=fingerprint,
            size=len(ids),
            dimension=only[0],
            metric=only[1],
            method=method,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the extension's version and the table's columns."""
        return {
            "library": "sqlite-vec",
            "library_version": str(self._rows("SELECT vec_version()")[0][0]).removeprefix("v"),
            "columns": self._settings,
        }

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        return list(self._connection.execute(statement, values))

    def _read(self, ids: Sequence[Any]) -> Iterator[Row]:
        if self._hashes_all(ids):
            rows = iter(self._rows(f"SELECT {self._key}, * FROM {self._name}"))
        else:
            statement = f"SELECT {self._key}, * FROM {self._name} WHERE {self._key} = ?"
            rows = (row for key in ids for row in self._rows(statement, (key,)))
        for key, *values in rows:
            yield key, dict(zip(self._columns, values, strict=False))

    def _hashes_all(self, ids: Sequence[Any]) -> bool:
        return len(ids) == self.size

    def _probe(self) -> Hashable:
        """Return the number of rows and a few of them."""
        shadow = '"' + self._table.replace('"', '""') + '_vector_chunks00"'
        low, high, count = self._rows(
            f"SELECT min({self._key}), max({self._key}), count(*) FROM {self._name}"
        )[0]
        parts = self._rows(
            f"SELECT rowid, substr(vectors, 1, 64), substr(vectors, -64) FROM {shadow} "
            f"LIMIT {_PROBES}"
        )
        return low, high, count, tuple(tuple(part) for part in parts)
