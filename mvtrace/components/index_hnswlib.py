"""Adapter for ``hnswlib.Index``: content by label and stored vector (normalized for cosine).

hnswlib keeps no change counter. The signal is the number of labels, the search setting and the
vectors of a few labels; an exchange elsewhere, and a label marked deleted elsewhere, is found by
the rehash after MAX_AGE_S. hnswlib does not allow changes while it is read: give mvtrace.index()
the lock that guards them. The graph is not pinned, since it depends on insertion order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

from mvtrace.components.fingerprint import METHOD_COUNTERS
from mvtrace.components.index_rows import MAX_IDS, Row, fingerprint_of
from mvtrace.components.index_source import SnapshotFacts

_PROBES: Final = 4
_PAGE: Final = 1_000
_NUMBER_BYTES: Final = 4


class HnswlibIndex:
    """An hnswlib index as an IndexSource."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._counters: tuple[int, ...] = ()
        self._probes: list[int] = []

    @classmethod
    def over(cls, index: Any) -> Self | None:
        """Return the adapter, or None for other classes of the library (such as ``BFIndex``)."""
        needed = ("get_ids_list", "get_items", "element_count", "max_elements", "ef", "space")
        return cls(index) if all(hasattr(index, name) for name in needed) else None

    @property
    def size(self) -> int:
        """How many labels it holds, deleted ones too."""
        return int(self._index.element_count)

    def change_signal(self) -> Hashable:
        """Return counters, and the vectors of a few labels chosen when they last changed."""
        index = self._index
        counters = (index.element_count, index.max_elements, index.ef)
        if counters != self._counters:
            labels = index.get_ids_list()
            self._probes = labels[:: max(len(labels) // _PROBES, 1)][:_PROBES]
            self._counters = counters
        return (*counters, *(None if row is None else row.tobytes() for row in self._some()))

    def snapshot(self) -> SnapshotFacts:
        """Return the fingerprint of every vector that is not deleted, or of a sample of them."""
        labels = self._index.get_ids_list()
        method, fingerprint, size = METHOD_COUNTERS, None, len(labels)
        if size <= MAX_IDS:
            alive = [label for label, _ in self._read(labels)]
            size = len(alive)
            row_bytes = int(self._index.dim) * _NUMBER_BYTES
            method, fingerprint = fingerprint_of(alive, self._read, row_bytes=row_bytes)
        return SnapshotFacts(
            fingerprint=fingerprint,
            size=size,
            dimension=int(self._index.dim),
            metric=str(self._index.space),
            method=method,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the library's version and the settings that decide what a search finds."""
        from importlib import metadata  # noqa: PLC0415 (7 ms of an import)

        index = self._index
        return {
            "library": "hnswlib",
            "library_version": metadata.version("hnswlib"),
            "M": int(index.M),
            "ef_construction": int(index.ef_construction),
            "ef": int(index.ef),
        }

    def _some(self) -> Iterator[Any]:
        for label in self._probes:
            yield self._vector(label)

    def _read(self, labels: Sequence[int]) -> Iterator[Row]:
        """Yield labels and vectors; one that is marked deleted refuses the whole page."""
        for at in range(0, len(labels), _PAGE):
            page = labels[at : at + _PAGE]
            try:
                rows = self._index.get_items(page)
            except RuntimeError:
                rows = [self._vector(label) for label in page]
            for label, row in zip(page, rows, strict=True):
                if row is not None:
                    yield int(label), {"vector": row}

    def _vector(self, label: int) -> Any:
        try:
            return self._index.get_items([label])[0]
        except RuntimeError:  # "Label not found": it is marked deleted
            return None
