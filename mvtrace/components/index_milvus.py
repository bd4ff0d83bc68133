"""Adapter for Milvus collections over ``MilvusClient``, Milvus Lite's files too.

An alias is resolved whenever it is asked, so one that was moved is seen with the next query; what
is told as native version is the name of the collection behind it, and its id where it has one. The
signal is that and the number of entities: two round trips. An exchange at equal number is found by
the rehash after MAX_AGE_S.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final, Self

from mvtrace.components.fingerprint import FULL_ITEMS, METHOD_COUNTERS
from mvtrace.components.index_rows import MAX_IDS, Row, fingerprint_of
from mvtrace.components.index_source import SnapshotFacts

_PAGE: Final = 1_000
_NUMBER_BYTES: Final = 8


class MilvusIndex:
    """A Milvus collection, by its name or an alias, as an IndexSource."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    @classmethod
    def over(cls, live: Any, collection: str | None = None) -> Self | None:
        """Return the adapter over the collection or alias called *collection* of a client."""
        fits = all(hasattr(live, name) for name in ("describe_collection", "query", "get"))
        if collection is None or not fits or "Async" in type(live).__name__:
            return None
        return cls(live, collection)

    @property
    def identity(self) -> Hashable:
        """Which name of which client it is."""
        return "milvus", self._name, id(self._client)

    @property
    def size(self) -> int:
        """How many entities it holds."""
        found = self._client.query(self._name, filter="", output_fields=["count(*)"])
        return int(found[0]["count(*)"])

    def change_signal(self) -> Hashable:
        """Return the collection behind the name, and how many entities it holds."""
        return self._resolved(self._client.describe_collection(self._name)), self.size

    def snapshot(self) -> SnapshotFacts:
        """Return the fingerprint, and which collection was read."""
        found, size = self._client.describe_collection(self._name), self.size
        dimensions = _dimensions(found)
        method, fingerprint = METHOD_COUNTERS, None
        if size <= MAX_IDS:
            row_bytes = sum(dimensions.values()) * _NUMBER_BYTES
            key = _key(found)
            method, fingerprint = fingerprint_of(
                self._ids(key, size), lambda ids: self._read(key, ids), row_bytes=row_bytes
            )
        return SnapshotFacts(
            native_version=self._resolved(found),
            fingerprint=fingerprint,
            size=size,
            dimension=next(iter(dimensions.values())) if len(dimensions) == 1 else None,
            metric=next(iter(self._metrics(found)), None),
            method=method,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the library's version, the fields and the indexes."""
        from importlib import metadata  # noqa: PLC0415 (7 ms of an import)

        found = self._client.describe_collection(self._name)
        return {
            "library": "milvus",
            "library_version": metadata.version("pymilvus"),
            "vectors": _dimensions(found),
            "metrics": self._metrics(found),
        }

    def _resolved(self, found: Mapping[str, Any]) -> str:
        number = found.get("collection_id")
        return f"{found['collection_name']} {number}" if number else str(found["collection_name"])

    def _metrics(self, found: Mapping[str, Any]) -> list[str]:
        name = found["collection_name"]
        indexes = (
            self._client.describe_index(name, index_name=one)
            for one in self._client.list_indexes(name)
        )
        return sorted({str(one["metric_type"]).lower() for one in indexes if "metric_type" in one})

    def _ids(self, key: str, size: int) -> list[Any]:
        if size <= FULL_ITEMS:  # a server gives that many in one answer
            found = self._client.query(
                self._name, filter="", output_fields=[key], limit=max(size, 1)
            )
            return [entity[key] for entity in found]
        ids: list[Any] = []
        walk = self._client.query_iterator(self._name, batch_size=_PAGE, output_fields=[key])
        with closing(walk):
            while page := walk.next():
                ids.extend(entity[key] for entity in page)
        return ids

    def _read(self, key: str, ids: Sequence[Any]) -> Iterator[Row]:
        for at in range(0, len(ids), _PAGE):
            page = self._client.get(self._name, ids=list(ids[at : at + _PAGE]), output_fields=["*"])
            for entity in page:
                yield entity[key], dict(entity)


def _key(found: Mapping[str, Any]) -> str:
    return next(str(field["name"]) for field in found["fields"] if field.get("is_primary"))


def _dimensions(found: Mapping[str, Any]) -> dict[str, int]:
    """Return the dimension of each vector field."""
    fields = {field["name"]: field.get("params", {}).get("dim") for field in found["fields"]}
    return {name: int(size) for name, size in sorted(fields.items()) if size is not None}
