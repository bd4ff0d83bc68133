"""Adapter for plain Python objects: a mapping of id to vector or document, a sequence, an array.

Fingerprinted are, of a mapping, each key and value in any order; of a sequence or NumPy array, each
item under its position, since its position is its id. Values are arrays, bytes, dataclasses or JSON
values, by content.

Python objects tell no changes. The signal is the length and which objects stand at a few places; a
change within an item, and one elsewhere at equal length, is found by the rehash after MAX_AGE_S.
Above FULL_ITEMS a sample is hashed, above MAX_ITEMS a mapping is only counted.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

from mvtrace.components.fingerprint import (
    FULL_BYTES,
    FULL_ITEMS,
    METHOD_COUNTERS,
    METHOD_FULL,
    METHOD_SAMPLED,
    SAMPLE_ITEMS,
    combine,
    is_array,
    spread,
    value_bytes,
)
from mvtrace.components.index_source import SnapshotFacts
from mvtrace.digest import canonical_bytes

MAX_ITEMS: Final = 1_000_000
"""Choosing a sample of a mapping looks at every key."""
_PROBES: Final = 16


class PlainIndex:
    """A mapping, sequence or array as an IndexSource."""

    def __init__(self, items: Any) -> None:
        self._items = items
        self._is_mapping = isinstance(items, Mapping)

    @classmethod
    def over(cls, items: object) -> Self | None:
        """Return the adapter, or None for what is neither mapping, sequence nor array."""
        if isinstance(items, (str, bytes, bytearray, memoryview)):
            return None
        is_rows = is_array(items) and len(getattr(items, "shape", ())) > 0
        return cls(items) if is_rows or isinstance(items, (Mapping, Sequence)) else None

    @property
    def size(self) -> int:
        """How many items it holds."""
        return len(self._items)

    def change_signal(self) -> Hashable:
        """Return the length and the identities at a few places."""
        items, size = self._items, len(self._items)
        if is_array(items):
            return size, tuple(items[at].tobytes() for at in _spread(size))
        if not self._is_mapping:
            return size, tuple(id(items[at]) for at in _spread(size))
        ends = [next(iter(items), None)]
        if hasattr(items, "__reversed__"):
            ends.append(next(reversed(items), None))
        return size, tuple((id(key), id(items.get(key))) for key in ends)

    def snapshot(self) -> SnapshotFacts:
        """Return the fingerprint of all items, of a sample, or none; *method* says which."""
        method, fingerprint = self._fingerprint()
        return SnapshotFacts(
            fingerprint=fingerprint,
            size=len(self._items),
            dimension=self._dimension(),
            method=method,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return that it is Python's own, and of which sort."""
        if is_array(self._items):
            return {"library": "numpy", "sort": "array"}
        return {"library": "python", "sort": "mapping" if self._is_mapping else "sequence"}

    def _fingerprint(self) -> tuple[str, str | None]:
        size = len(self._items)
        if size <= FULL_ITEMS and getattr(self._items, "nbytes", 0) <= FULL_BYTES:
            return METHOD_FULL, combine(self._pairs(self._keys()))
        if self._is_mapping and size > MAX_ITEMS:
            return METHOD_COUNTERS, None
        chosen = self._sample_keys(size)
        return METHOD_SAMPLED, combine(self._pairs(chosen), count=size, sampled=True)

    def _keys(self) -> Sequence[Any]:
        return list(self._items) if self._is_mapping else range(len(self._items))

    def _sample_keys(self, size: int) -> Sequence[Any]:
        if not self._is_mapping:
            return spread(size)
        return heapq.nsmallest(SAMPLE_ITEMS, list(self._items), key=_mix)

    def _pairs(self, keys: Sequence[Any]) -> Iterator[tuple[bytes, bytes]]:
        for key in keys:
            yield canonical_bytes(key), value_bytes(self._items[key])

    def _dimension(self) -> int | None:
        if not len(self._items):
            return None
        first = next(iter(self._items.values() if self._is_mapping else self._items))
        if is_array(first):
            return int(first.shape[-1]) if first.shape else None
        is_vector = isinstance(first, (list, tuple)) and all(
            isinstance(number, (int, float)) for number in first
        )
        return len(first) if is_vector else None


def _spread(size: int) -> Sequence[int]:
    """Return a few positions, the first and the last among them."""
    if size <= _PROBES:
        return range(size)
    return [at * (size - 1) // (_PROBES - 1) for at in range(_PROBES)]


def _mix(key: object) -> tuple[int, bytes]:
    raw = canonical_bytes(key)
    return zlib.crc32(raw), raw
