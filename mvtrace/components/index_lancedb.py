"""Adapter for LanceDB tables: the version that the table object stands at, and its rows.

LanceDB numbers every state of a table, and a table object is queried at the state it stands at: a
checkout of another version or tag moves it. That number is the signal, so a change is seen with the
next query, and it is told as the native version. It says nothing about content (a rebuild counts
on), so the rows are hashed as well, all columns of them; only a table without an id column that is
too large for that is identified by the number alone (``method`` says ``native``).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

from mvtrace.components.fingerprint import METHOD_FULL
from mvtrace.components.index_rows import (
    MAX_IDS,
    METHOD_NATIVE,
    Row,
    fingerprint_of,
    is_small,
    of_rows,
)
from mvtrace.components.index_source import SnapshotFacts

_ID_COLUMNS: Final = ("id", "_id", "pk", "key", "uuid", "doc_id", "document_id", "chunk_id")
_FLOAT_BYTES: Final = 4


class LanceIndex:
    """A LanceDB table as an IndexSource."""

    is_exact = True

    def __init__(self, table: Any, *, follows: bool) -> None:
        self._table = table
        self._follows = follows

    @classmethod
    def over(cls, live: Any, collection: str | None = None) -> Self | None:
        """Return the adapter over a table, or over the newest state of *collection* in a database.

        None for what is neither; asynchronous tables cannot be asked from a synchronous call.
        """
        if collection is None:
            needed = ("version", "count_rows", "schema", "search", "take_row_ids")
            fits = all(hasattr(live, name) for name in needed)
            return cls(live, follows=False) if fits and not _is_asynchronous(live) else None
        if not hasattr(live, "open_table") or _is_asynchronous(live):
            return None
        return cls(live.open_table(collection), follows=True)

    @property
    def identity(self) -> Hashable:
        """Which state of which table it is: two objects for one are one index."""
        table = self._table
        return "lancedb", getattr(table, "uri", None) or id(table), table.version, self._follows

    @property
    def size(self) -> int:
        """How many rows it has."""
        return int(self._table.count_rows())

    def change_signal(self) -> Hashable:
        """Return the version the table stands at."""
        if self._follows:
            self._table.checkout_latest()
        return int(self._table.version)

    def snapshot(self) -> SnapshotFacts:
        """Return version and fingerprint of the rows."""
        version, size, columns = str(self._table.version), self.size, self._vectors()
        method, fingerprint = self._fingerprint(size, sum(columns.values()) * _FLOAT_BYTES)
        return SnapshotFacts(
            native_version=version,
            fingerprint=fingerprint,
            size=size,
            dimension=next(iter(columns.values())) if len(columns) == 1 else None,
            metric=self._metric(),
            method=method,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the library's version, vector columns, and the indexes searches go through."""
        from importlib import metadata  # noqa: PLC0415 (7 ms of an import)

        functions = getattr(self._table, "embedding_functions", None) or {}
        found: dict[str, Any] = {
            "library": "lancedb",
            "library_version": metadata.version("lancedb"),
            "vectors": self._vectors(),
            "indexes": sorted(
                f"{one.index_type} {' '.join(one.columns)}" for one in self._table.list_indices()
            ),
        }
        if functions:
            found["embedding_functions"] = {
                name: type(getattr(one, "function", one)).__qualname__
                for name, one in functions.items()
            }
        return found

    def _vectors(self) -> dict[str, int]:
        """Return the dimension of each vector column."""
        schema = self._table.schema
        sizes = {field.name: getattr(field.type, "list_size", None) for field in schema}
        return {name: int(size) for name, size in sizes.items() if size is not None}

    def _metric(self) -> str | None:
        for one in self._table.list_indices():
            stats = self._table.index_stats(one.name)
            if getattr(stats, "distance_type", None):
                return str(stats.distance_type).lower()
        return None

    def _fingerprint(self, size: int, row_bytes: int) -> tuple[str, str | None]:
        id_column = next((name for name in _ID_COLUMNS if name in self._table.schema.names), None)
        if is_small(size, row_bytes):
            return METHOD_FULL, of_rows(_rows(self._table.to_arrow(), id_column))
        if id_column is None or size > MAX_IDS:
            return METHOD_NATIVE, None
        found = self._table.search().with_row_id(True).select([id_column]).to_arrow()
        ids, row_ids = found[id_column].to_pylist(), found["_rowid"].to_pylist()
        places = dict(zip(ids, row_ids, strict=True))

        def read(chosen: Sequence[Any]) -> Iterator[Row]:
            taken = self._table.take_row_ids([places[one] for one in chosen]).to_arrow()
            return _rows(taken, id_column)

        return fingerprint_of(ids, read, row_bytes=row_bytes)


def _rows(found: Any, id_column: str | None) -> Iterator[Row]:
    """Yield the rows of an Arrow table; vectors as arrays, the rest as Python values."""
    columns = {name: _column(found[name]) for name in found.column_names}
    for at in range(found.num_rows):
        row = {name: column[at] for name, column in columns.items()}
        yield (0 if id_column is None else row[id_column]), row


def _column(column: Any) -> Sequence[Any]:
    width = getattr(column.type, "list_size", None)
    if width is None or column.null_count or not len(column):
        values: Sequence[Any] = column.to_pylist()
        return values
    flat = column.combine_chunks().flatten()
    numbers = (flat.combine_chunks() if hasattr(flat, "combine_chunks") else flat).to_numpy(
        zero_copy_only=False
    )
    rows: Sequence[Any] = numbers.reshape(-1, width)
    return rows


def _is_asynchronous(live: object) -> bool:
    return type(live).__name__.startswith("Async")
