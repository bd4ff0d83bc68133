"""Adapter for PostgreSQL tables with pgvector's columns, over a ``psycopg`` connection or pool.

The table is looked up by its name whenever it is asked, so one renamed into its place is seen. The
signal is the position of the write-ahead log: as long as it stands still, nothing was written by
anybody. Where it moved, the numbers and writers of all row versions are summed up, without reading
vectors; that look has a rest of twenty times its own time, so a change is seen with the next query
of a small table and within a second or two of a large one.

Rows are hashed by the server, all columns of them. Statements run in the connection's own
transaction, below a savepoint, so that a failing one spoils nothing. It must be a table, or a
materialized view; ``asyncpg``, ``psycopg2`` and asynchronous connections have no adapter.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Self

from mvtrace.components.fingerprint import METHOD_COUNTERS
from mvtrace.components.index_probe import Probe
from mvtrace.components.index_rows import MAX_IDS, Row, fingerprint_of
from mvtrace.components.index_source import SnapshotFacts

_VECTORS: Final = ("vector", "halfvec", "sparsevec")
_POOL_TIMEOUT_S: Final = 1.0
_POSITION: Final = """
SELECT to_regclass(%s)::oid, to_regclass(%s)::text,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_insert_lsn() END::text
"""
_VERSIONS: Final = """
SELECT count(*), sum(hashtextextended(tableoid::text || ctid::text || xmin::text, 0))::text FROM {}
"""
_COLUMNS: Final = """
SELECT quote_ident(a.attname), t.typname, a.atttypmod,
       coalesce(a.attnum = ANY (
           SELECT unnest(i.indkey) FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary
       ), false)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname
"""
_INDEXES: Final = """
SELECT substring(pg_get_indexdef(indexrelid) FROM 'USING (.*)') FROM pg_index
WHERE indrelid = %s ORDER BY 1
"""
_METRICS: Final = {
    "_l2_ops": "l2",
    "_cosine_ops": "cosine",
    "_ip_ops": "inner_product",
    "_l1_ops": "l1",
}


class PgvectorIndex:
    """A table with vectors as an IndexSource."""

    is_exact = True

    def __init__(self, source: Any, table: str) -> None:
        self._source = source
        self._name = table
        self._oid: int | None = None
        self._quoted = ""
        self._position: Hashable = None
        self._found: Hashable = None
        self._look = Probe(lambda: tuple(self._rows(_VERSIONS.format(self._quoted))[0]))

    @classmethod
    def over(cls, live: Any, collection: str | None = None) -> Self | None:
        """Return the adapter over the table *collection*; None without connection or pool."""
        fits = hasattr(live, "transaction") or hasattr(live, "connection")
        if collection is None or not fits or type(live).__name__.startswith("Async"):
            return None
        return cls(live, collection)

    @property
    def identity(self) -> Hashable:
        """Which name over which connection it is."""
        return "pgvector", self._name, id(self._source)

    @property
    def size(self) -> int:
        """How many rows it has."""
        return int(self._rows(f"SELECT count(*) FROM {self._quoted}")[0][0])

    def change_signal(self) -> Hashable:
        """Return which table has the name, and the sum over its row versions.

        Raises:
            LookupError: there is no such table.

        """
        oid, quoted, position = self._rows(_POSITION, (self._name, self._name))[0]
        if oid is None:
            raise LookupError(f"there is no table {self._name!r}")
        if oid != self._oid:
            self._oid, self._quoted = oid, quoted
            self._look = Probe(lambda: tuple(self._rows(_VERSIONS.format(self._quoted))[0]))
            self._position = None
        if position != self._position:
            self._found = self._look()
            if self._look.is_fresh:  # else a later query looks, although nothing is written then
                self._position = position
        return oid, self._found

    def snapshot(self) -> SnapshotFacts:
        """Return the fingerprint of all columns of all rows, or of a sample of the rows."""
        columns, size = self._rows(_COLUMNS, (self._oid,)), self.size
        method, fingerprint = METHOD_COUNTERS, None
        keys = [name for name, _, _, is_key in columns if is_key]
        if size <= MAX_IDS:
            ids = [row[0] for row in self._rows(f"SELECT {_key(keys)} FROM {self._quoted}")]
            method, fingerprint = fingerprint_of(
                ids,
                lambda chosen: self._read(columns, chosen, is_all=len(chosen) == len(ids)),
                row_bytes=0,
            )
        dimensions = [width for _, kind, width, _ in columns if kind in _VECTORS and width > 0]
        return SnapshotFacts(
            fingerprint=fingerprint,
            size=size,
            dimension=dimensions[0] if len(dimensions) == 1 else None,
            metric=self._metric(),
            method=method,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the extension's version, the columns and the indexes."""
        [(version,)] = self._rows("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        return {
            "library": "pgvector",
            "library_version": version,
            "columns": [
                f"{name} {kind}" for name, kind, _, _ in self._rows(_COLUMNS, (self._oid,))
            ],
            "indexes": [row[0] for row in self._rows(_INDEXES, (self._oid,))],
        }

    def _metric(self) -> str | None:
        indexes = " ".join(row[0] for row in self._rows(_INDEXES, (self._oid,)))
        return next((name for ending, name in _METRICS.items() if ending in indexes), None)

    def _read(self, columns: Sequence[Any], ids: Sequence[str], *, is_all: bool) -> Iterator[Row]:
        key = _key([name for name, _, _, is_key in columns if is_key])
        content = " || ".join(_framed(name, kind) for name, kind, _, _ in columns)
        statement = f"SELECT {key}, sha256({content}) FROM {self._quoted}"
        chosen = (
            self._rows(statement)
            if is_all
            else self._rows(f"{statement} WHERE {key} = ANY (%s)", (list(ids),))
        )
        for name, digest in chosen:
            yield name, {"row": bytes(digest)}

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        as_tuples = sys.modules["psycopg"].rows.tuple_row
        with self._connection() as connection, connection.transaction():
            cursor = connection.cursor(row_factory=as_tuples)
            rows: list[Any] = cursor.execute(statement, values or None).fetchall()
            return rows

    def _connection(self) -> AbstractContextManager[Any]:
        if hasattr(self._source, "transaction"):
            return nullcontext(self._source)
        borrowed: AbstractContextManager[Any] = self._source.connection(timeout=_POOL_TIMEOUT_S)
        return borrowed


def _key(names: Sequence[str]) -> str:
    """Return the expression of the primary key as text; without one, the same for all rows."""
    return " || chr(31) || ".join(f"{name}::text" for name in names) if names else "''::text"


def _framed(name: str, kind: str) -> str:
    """Return the expression of a column's content: its length and bytes, told apart from NULL."""
    raw = f"{kind}_send({name})" if kind in _VECTORS else f"convert_to({name}::text, 'UTF8')"
    return (
        f"CASE WHEN {name} IS NULL THEN '\\xffffffff'::bytea "
        f"ELSE int4send(octet_length({raw})) || {raw} END"
    )
