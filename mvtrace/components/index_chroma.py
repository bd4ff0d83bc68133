"""Adapter for Chroma collections: embeddings, documents and metadata by id.

Given a client and a name, the name is looked up when asked, so a collection renamed into its place
is seen; what is told as native version is the id of the collection behind the name.

A persistent client keeps everything in one SQLite file, and that file's change counter is the
signal: a change is seen with the next query. Where another collection was written, two sequence
numbers of this one tell that it was not meant. A client in memory or on a server has no counter:
its signal is the collection's id and count, and an exchange at equal count is found by the rehash
after MAX_AGE_S.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from mvtrace.components.fingerprint import METHOD_COUNTERS
from mvtrace.components.index_rows import MAX_IDS, Row, fingerprint_of
from mvtrace.components.index_source import SnapshotFacts

_DATABASE: Final = "chroma.sqlite3"
_PAGE: Final = 5_000
_NUMBER_BYTES: Final = 8
_CHANGES: Final = """
SELECT count(*), max(seq_id),
       (SELECT max(seq_id) FROM embeddings_queue WHERE topic LIKE '%' || ?1)
FROM embeddings WHERE segment_id IN (SELECT id FROM segments WHERE collection = ?1)
"""


class ChromaIndex:
    """A Chroma collection as an IndexSource."""

    def __init__(self, live: Any, name: str | None) -> None:
        self._live = live
        self._name = name
        self._collection: Any = None
        self._system = _system(live if name is not None else live._client)  # noqa: SLF001
        self._resolved_at: Hashable = None
        self._signal: Hashable = None

    @classmethod
    def over(cls, live: Any, collection: str | None = None) -> Self | None:
        """Return the adapter over a collection, or over the one called *collection* of a client.

        None for what is neither; asynchronous clients cannot be asked from a synchronous call.
        """
        needed = ("get", "count", "id", "_client") if collection is None else ("get_collection",)
        fits = all(hasattr(live, name) for name in needed)
        return cls(live, collection) if fits and "Async" not in type(live).__name__ else None

    @property
    def identity(self) -> Hashable:
        """Which collection it is: two objects for one collection are one index."""
        if self._name is None:
            return "chroma", id(self._system), str(self._live.id)
        return "chroma", id(self._system), self._live.tenant, self._live.database, self._name

    @functools.cached_property
    def _file(self) -> _Watched | None:
        return _Watched.of(getattr(self._system, "settings", None))

    @property
    def is_exact(self) -> bool:
        """Whether the signal shows every change."""
        return self._file is not None

    @property
    def size(self) -> int:
        """How many embeddings it holds."""
        return int(self._found().count())

    def change_signal(self) -> Hashable:
        """Return the file's counter, and which collection has the name; else id and count."""
        if self._file is None:
            self._collection = None
            found = self._found()
            return str(found.id), int(found.count())
        version = self._file.version()
        if version != self._resolved_at:
            self._collection = None
            self._signal = self._file.changes(str(self._found().id), version)
            self._resolved_at = version
        return self._signal

    def snapshot(self) -> SnapshotFacts:
        """Return the fingerprint, and the id of the collection that was read."""
        found = self._found()
        size = int(found.count())
        first = found.get(limit=1, include=["embeddings"])["embeddings"]
        dimension = len(first[0]) if len(first) else None
        method, fingerprint = METHOD_COUNTERS, None
        if size <= MAX_IDS:
            ids = found.get(include=[])["ids"]
            row_bytes = (dimension or 0) * _NUMBER_BYTES
            method, fingerprint = fingerprint_of(ids, self._read, row_bytes=row_bytes)
        return SnapshotFacts(
            native_version=str(found.id),
            fingerprint=fingerprint,
            size=size,
            dimension=dimension,
            metric=_vectors(found).get("space"),
            method=method,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the library's version, the graph's settings and the embedding function's name."""
        from importlib import metadata  # noqa: PLC0415 (7 ms of an import)

        found = self._found()
        function = (found.configuration_json or {}).get("embedding_function") or {}
        return {
            "library": "chroma",
            "library_version": metadata.version("chromadb"),
            "vectors": _vectors(found),
            "embedding_function": function.get("name"),
        }

    def _found(self) -> Any:
        if self._name is None:
            return self._live
        if self._collection is None:
            self._collection = self._live.get_collection(self._name, embedding_function=None)
        return self._collection

    def _read(self, ids: Sequence[Any]) -> Iterator[Row]:
        include = ["embeddings", "documents", "metadatas"]
        for at in range(0, len(ids), _PAGE):
            page = self._found().get(ids=list(ids[at : at + _PAGE]), include=include)
            columns = (page["embeddings"], page["documents"], page["metadatas"])
            for key, vector, document, about in zip(page["ids"], *columns, strict=True):
                yield key, {"vector": vector, "document": document, "metadata": about}


class _Watched:
    """The SQLite file of a persistent client, looked at over a connection of our own."""

    def __init__(self, path: Path) -> None:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)

    @classmethod
    def of(cls, settings: Any) -> Self | None:
        """Return the watch over the file that *settings* lead to; None where there is none."""
        folder = getattr(settings, "persist_directory", None)
        if not folder or not getattr(settings, "is_persistent", False):
            return None
        path = Path(folder) / _DATABASE
        return cls(path) if path.is_file() else None

    def version(self) -> int:
        """Return a number that changes whenever another connection commits to the file."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def changes(self, collection_id: str, version: int) -> Hashable:
        """Return what changes with this collection; *version* where the file is laid out anew."""
        try:
            row = self._connection.execute(_CHANGES, (collection_id,)).fetchone()
        except sqlite3.Error:
            return collection_id, version
        return collection_id, *row

    def __del__(self) -> None:
        """Close the connection."""
        if hasattr(self, "_connection"):
            self._connection.close()


def _system(client: Any) -> Any:
    return getattr(client, "_system", None) or client


def _vectors(collection: Any) -> dict[str, Any]:
    """Return the settings of the collection's index of vectors."""
    known = collection.configuration_json or {}
    found = known.get("hnsw") or known.get("spann") or {}
    return {key: value for key, value in found.items() if value is not None}
