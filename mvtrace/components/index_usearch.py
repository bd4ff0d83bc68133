"""Adapter for ``usearch.index.Index``: content by key and stored vector.

usearch keeps no change counter. The signal is size, capacity, level of the graph, search expansion
and the vectors of a few keys: it sees every add and remove that changes the size, a clear, a
reload, and a reindex with other vectors. An exchange of single vectors under their old keys, and a
rename, it may miss; the rehash after MAX_AGE_S finds them. Vectors are compared as stored
(quantized where the index quantizes); the graph is not pinned, since it depends on insertion order
and threads.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Final, Self

from mvtrace.components.fingerprint import (
    FULL_BYTES,
    FULL_ITEMS,
    METHOD_FULL,
    METHOD_SAMPLED,
    array_bytes,
    combine,
    sample_of,
)
from mvtrace.components.index_source import SnapshotFacts

_PROBES: Final = 4


class UsearchIndex:
    """A usearch index as an IndexSource."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._counters: tuple[object, ...] = ()
        self._probes: Any = None

    @classmethod
    def over(cls, index: Any) -> Self | None:
        """Return the adapter, or None for other classes of the library (such as ``Indexes``)."""
        needed = ("get", "keys", "size", "ndim", "capacity", "max_level")
        return cls(index) if all(hasattr(index, name) for name in needed) else None

    @property
    def size(self) -> int:
        """How many vectors it holds."""
        return int(self._index.size)

    def change_signal(self) -> Hashable:
        """Return counters, and the vectors of a few keys chosen when the counters last changed."""
        index = self._index
        counters = (index.size, index.capacity, index.max_level, index.expansion_search)
        if counters != self._counters:
            keys = index.keys[:]
            self._probes = keys[:: max(len(keys) // _PROBES, 1)][:_PROBES]
            self._counters = counters
        rows = index.get(self._probes) if len(self._probes) else ()
        return (*counters, *(None if row is None else row.tobytes() for row in rows))

    def snapshot(self) -> SnapshotFacts:
        """Return the fingerprint: of every vector, or above the limits of a sample by key."""
        keys = self._index.keys[:]
        row_bytes = max(len(self._index.get(int(keys[0])).tobytes()), 1) if len(keys) else 1
        is_full = len(keys) <= min(FULL_ITEMS, FULL_BYTES // row_bytes)
        fingerprint = combine(self._items(keys)) if is_full else self._sampled(keys)
        return SnapshotFacts(
            fingerprint=fingerprint,
            size=len(keys),
            dimension=int(self._index.ndim),
            metric=_name(self._index.metric_kind),
            method=METHOD_FULL if is_full else METHOD_SAMPLED,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the library's version and the settings that decide what a search finds."""
        from importlib import metadata  # noqa: PLC0415 (7 ms of an import)

        index = self._index
        return {
            "library": "usearch",
            "library_version": metadata.version("usearch"),
            "dtype": _name(index.dtype),
            "multi": bool(index.multi),
            "connectivity": int(index.connectivity),
            "expansion_add": int(index.expansion_add),
            "expansion_search": int(index.expansion_search),
        }

    def _items(self, keys: Any) -> Iterator[tuple[bytes, bytes]]:
        if self._index.multi:  # a key stands once for each of its vectors
            keys = keys[sorted({int(key): at for at, key in enumerate(keys)}.values())]
        for key, rows in zip(keys.tolist(), self._index.get(keys), strict=True):
            if rows is None:  # removed meanwhile by another thread
                continue
            for row in rows if rows.ndim > 1 else (rows,):
                yield b"%d" % key, array_bytes(row)

    def _sampled(self, keys: Any) -> str:
        """Hash the vectors of a sample of the keys, and sum up all keys."""
        chosen, total = sample_of(keys)
        return combine(self._items(keys[chosen]), count=len(keys), ids=total, sampled=True)


def _name(kind: Any) -> str:
    return str(getattr(kind, "name", kind)).lower()
