"""Adapter for Qdrant collections, local and on a server: vectors and payloads by id.

An alias is resolved whenever it is asked, so one that was moved is seen with the next query; what
is told as native version is the name of the collection behind it.

A local client with a folder counts its writes, and that count is the signal. In memory the signal
is the number of points and a few of them; on a server it is the number of points, which is a round
trip. There an exchange at equal number is found by the rehash after MAX_AGE_S.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

from mvtrace.components.fingerprint import METHOD_COUNTERS
from mvtrace.components.index_rows import MAX_IDS, Row, fingerprint_of
from mvtrace.components.index_source import SnapshotFacts

_PAGE: Final = 1_000
_NUMBER_BYTES: Final = 8
_PROBES: Final = 8


class QdrantIndex:
    """A Qdrant collection, by its name or an alias, as an IndexSource."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name
        inner = getattr(client, "_client", None)
        is_local = all(hasattr(inner, attribute) for attribute in ("collections", "aliases"))
        self._local = inner if is_local else None
        self.is_exact = is_local and bool(getattr(inner, "persistent", False))

    @classmethod
    def over(cls, live: Any, collection: str | None = None) -> Self | None:
        """Return the adapter over the collection or alias called *collection* of a client.

        None for what is no client; asynchronous ones cannot be asked from a synchronous call.
        """
        fits = all(hasattr(live, name) for name in ("scroll", "retrieve", "get_aliases"))
        if collection is None or not fits or type(live).__name__.startswith("Async"):
            return None
        return cls(live, collection)

    @property
    def identity(self) -> Hashable:
        """Which name of which client it is."""
        return "qdrant", self._name, id(self._client)

    @property
    def size(self) -> int:
        """How many points it holds."""
        return int(self._client.count(self._name, exact=True).count)

    def change_signal(self) -> Hashable:
        """Return the collection behind the name, and its count of writes or of points."""
        name = self._resolved()
        if self._local is None:
            return name, self.size
        found = self._local.collections.get(name)
        if found is None:
            return name, None
        storage = getattr(getattr(found, "storage", None), "storage", None)
        if storage is not None:
            return name, id(found), storage.total_changes
        return name, id(found), len(found.ids), *_probe(found)

    def snapshot(self) -> SnapshotFacts:
        """Return the fingerprint, and the name of the collection that was read."""
        size, spaces = self.size, self._spaces()
        method, fingerprint = METHOD_COUNTERS, None
        if size <= MAX_IDS:
            row_bytes = sum(space["size"] for space in spaces.values()) * _NUMBER_BYTES
            method, fingerprint = fingerprint_of(self._ids(), self._read, row_bytes=row_bytes)
        only = next(iter(spaces.values())) if len(spaces) == 1 else {}
        return SnapshotFacts(
            native_version=self._resolved(),
            fingerprint=fingerprint,
            size=size,
            dimension=only.get("size"),
            metric=only.get("distance"),
            method=method,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the library's version, the spaces of vectors and the graph's settings."""
        from importlib import metadata  # noqa: PLC0415 (7 ms of an import)

        config = self._client.get_collection(self._name).config
        graph = getattr(config, "hnsw_config", None)
        quantized = getattr(config, "quantization_config", None)
        return {
            "library": "qdrant",
            "library_version": metadata.version("qdrant-client"),
            "vectors": self._spaces(),
            "sparse_vectors": sorted(config.params.sparse_vectors or {}),
            "m": getattr(graph, "m", None),
            "ef_construct": getattr(graph, "ef_construct", None),
            "quantization": None if quantized is None else type(quantized).__name__,
        }

    def _resolved(self) -> str:
        """Return the name of the collection that a query under our name would read."""
        if self._local is not None:
            return str(self._local.aliases.get(self._name, self._name))
        for one in self._client.get_aliases().aliases:
            if one.alias_name == self._name:
                return str(one.collection_name)
        return self._name

    def _spaces(self) -> dict[str, dict[str, Any]]:
        """Return size and distance of each space of dense vectors, by its name."""
        found = self._client.get_collection(self._name).config.params.vectors or {}
        spaces = found if isinstance(found, dict) else {"": found}
        return {
            name: {"size": int(one.size), "distance": str(one.distance.value).lower()}
            for name, one in sorted(spaces.items())
        }

    def _ids(self) -> list[Any]:
        ids: list[Any] = []
        # A local client walks over all points for each page, a server does not.
        limit, after = (_PAGE if self._local is None else MAX_IDS + 1), None
        while True:
            page, after = self._client.scroll(
                self._name, limit=limit, offset=after, with_payload=False, with_vectors=False
            )
            ids.extend(point.id for point in page)
            if after is None:
                return ids

    def _read(self, ids: Sequence[Any]) -> Iterator[Row]:
        for at in range(0, len(ids), _PAGE):
            page = self._client.retrieve(
                self._name, ids=list(ids[at : at + _PAGE]), with_payload=True, with_vectors=True
            )
            for point in page:
                yield point.id, {"vector": _plain(point.vector), "payload": point.payload}


def _plain(vector: Any) -> Any:
    """Return a vector, or several by name, without the client's own classes."""
    if isinstance(vector, Mapping):
        return {name: _plain(one) for name, one in vector.items()}
    return vector.model_dump() if hasattr(vector, "model_dump") else vector


def _probe(found: Any) -> Iterator[Hashable]:
    """Yield what a write to a few points of a local collection in memory would change."""
    count = len(found.payload)
    for at in range(0, count, max(count // _PROBES, 1)):
        yield id(found.payload[at]), bool(found.deleted[at])
        yield from (rows[at].tobytes() for rows in found.vectors.values() if at < len(rows))
