"""Adapter for FAISS indexes: content by id and stored code.

Flat indexes, HNSW over a flat storage and IVF with flat lists are read item by item, below an
``IndexIDMap`` under its ids, else under the position, which is FAISS's id. Any other index is
hashed in its serialized form, which depends on insertion order (``method`` says ``serialized``),
or only counted where that is too large (``counters``).

FAISS keeps no change counter. The signal is the number of vectors, the search settings, and a few
stored vectors; an exchange elsewhere at equal size is found by the rehash after MAX_AGE_S.
FAISS does not allow changes while it is read: give mvtrace.index() the lock that guards them.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Final, Self

from mvtrace.components.fingerprint import (
    FULL_BYTES,
    FULL_ITEMS,
    INDEX_DOMAIN,
    METHOD_COUNTERS,
    METHOD_FULL,
    METHOD_SAMPLED,
    METHOD_SERIALIZED,
    array_bytes,
    combine,
    sample_of,
    spread,
)
from mvtrace.components.index_source import SnapshotFacts

MAX_SERIALIZED_BYTES: Final = 256 * 1024 * 1024
_METRICS: Final = {0: "inner_product", 1: "l2"}
_MAPPED: Final = frozenset({"IndexIDMap", "IndexIDMap2"})
_FLAT: Final = frozenset({"IndexFlat", "IndexFlatL2", "IndexFlatIP"})
_OVER_FLAT: Final = frozenset({"IndexHNSWFlat"})
_IVF_FLAT: Final = "IndexIVFFlat"
_SETTINGS: Final = ("nprobe", "max_codes", "quantizer_efSearch")
_PROBES: Final = 8


class FaissIndex:
    """A FAISS index as an IndexSource; exact class names decide, since subclasses store otherwise.

    FAISS aborts the process where an id is asked for that it does not hold, so nothing here asks
    by id: only stored codes are read.
    """

    def __init__(self, index: Any) -> None:
        self._index = index
        self._faiss: Any = sys.modules["faiss"]

    @classmethod
    def over(cls, index: Any) -> Self | None:
        """Return the adapter, or None for what is no index of the library."""
        is_index = all(hasattr(index, name) for name in ("ntotal", "d", "metric_type"))
        return cls(index) if is_index and "faiss" in sys.modules else None

    @property
    def size(self) -> int:
        """How many vectors it holds."""
        return int(self._index.ntotal)

    def change_signal(self) -> Hashable:
        """Return counters, settings and a few stored vectors."""
        inner = self._inner()
        rows = self._rows(inner)
        if rows is None and type(inner).__name__ == _IVF_FLAT:
            probe: Hashable = tuple(self._list_probe(inner))
        else:
            probe = b"" if rows is None else rows[:: max(len(rows) // _PROBES, 1)].tobytes()
        return self.size, tuple(self._settings(inner).items()), probe

    def snapshot(self) -> SnapshotFacts:
        """Return the fingerprint, made as the kind of index allows; *method* says how."""
        method, fingerprint = self._fingerprint()
        metric = int(self._index.metric_type)
        return SnapshotFacts(
            fingerprint=fingerprint,
            size=self.size,
            dimension=int(self._index.d),
            metric=_METRICS.get(metric, str(metric)),
            method=method,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the library's version, the sort of index, and what decides what a search finds."""
        inner = self._inner()
        return {
            "library": "faiss",
            "library_version": str(self._faiss.__version__),
            "sort": type(inner).__name__,
            **self._settings(inner),
        }

    def _inner(self) -> Any:
        """Return the index that holds the codes: the one below an id map, else itself."""
        index = self._index
        return self._faiss.downcast_index(index.index) if _is_mapped(index) else index

    def _ids(self) -> Any:
        """Return the ids of an id map as an array, else None: ids are positions."""
        return self._faiss.vector_to_array(self._index.id_map) if _is_mapped(self._index) else None

    def _rows(self, index: Any) -> Any:
        """Return a copy-free array over the stored vectors, a row each; None if they are others."""
        if type(index).__name__ in _OVER_FLAT:
            index = self._faiss.downcast_index(index.storage)
        if type(index).__name__ not in _FLAT:
            return None
        if not index.ntotal:
            return self._faiss.vector_to_array(index.codes).view("float32").reshape(0, index.d)
        flat = self._faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d)
        return flat.reshape(index.ntotal, index.d)

    def _settings(self, index: Any) -> dict[str, Any]:
        found = {name: int(getattr(index, name)) for name in _SETTINGS if hasattr(index, name)}
        if hasattr(index, "hnsw"):
            found["efSearch"] = int(index.hnsw.efSearch)
        return found

    def _fingerprint(self) -> tuple[str, str | None]:
        inner = self._inner()
        ids = self._ids()
        rows = self._rows(inner)
        if rows is not None:
            return self._of_rows(ids, rows)
        if type(inner).__name__ == _IVF_FLAT and ids is None and self._is_small(inner):
            return METHOD_FULL, combine(self._list_items(inner))
        return self._serialized()

    def _of_rows(self, ids: Any, rows: Any) -> tuple[str, str]:
        size = len(rows)
        if size <= FULL_ITEMS and rows.nbytes <= FULL_BYTES:
            keys = range(size) if ids is None else ids.tolist()
            return METHOD_FULL, combine(
                (b"%d" % key, array_bytes(row)) for key, row in zip(keys, rows, strict=True)
            )
        chosen, total = (spread(size), "") if ids is None else sample_of(ids)
        named = (at if ids is None else int(ids[at]) for at in chosen)
        items = (
            (b"%d" % key, array_bytes(rows[at])) for key, at in zip(named, chosen, strict=True)
        )
        return METHOD_SAMPLED, combine(items, count=size, ids=total, sampled=True)

    def _is_small(self, index: Any) -> bool:
        return self.size <= FULL_ITEMS and self.size * index.invlists.code_size <= FULL_BYTES

    def _list_items(self, index: Any) -> Iterator[tuple[bytes, bytes]]:
        """Return ids and codes of all inverted lists, with each list's centroid beside it."""
        centroids = self._rows(self._faiss.downcast_index(index.quantizer))
        lists = index.invlists
        for number in range(lists.nlist):
            if centroids is not None:
                yield b"centroid %d" % number, array_bytes(centroids[number])
            size = lists.list_size(number)
            if not size:
                continue
            ids = self._faiss.rev_swig_ptr(lists.get_ids(number), size)
            codes = self._faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size)
            for key, code in zip(ids.tolist(), codes.reshape(size, -1), strict=True):
                yield b"%d" % key, array_bytes(code)

    def _list_probe(self, index: Any) -> Iterator[Hashable]:
        lists = index.invlists
        for number in range(0, lists.nlist, max(lists.nlist // _PROBES, 1)):
            size = lists.list_size(number)
            if size:
                codes = self._faiss.rev_swig_ptr(lists.get_codes(number), lists.code_size)
                yield number, size, codes.tobytes()

    def _serialized(self) -> tuple[str, str | None]:
        index, faiss = self._index, self._faiss
        is_binary = isinstance(index, faiss.IndexBinary)
        width = index.code_size if is_binary else 4 * index.d
        if self.size * int(width) > MAX_SERIALIZED_BYTES:
            return METHOD_COUNTERS, None
        state = hashlib.sha256(INDEX_DOMAIN)
        writer = faiss.PyCallbackIOWriter(state.update)
        (faiss.write_index_binary if is_binary else faiss.write_index)(index, writer)
        return METHOD_SERIALIZED, f"sha256:{state.hexdigest()}"


def _is_mapped(index: Any) -> bool:
    return type(index).__name__ in _MAPPED
