"""Adapter for ``bm25s.BM25``: the score of every token in every document, vocabulary and corpus.

A document's position is its id, so another order is another index. bm25s tells no changes; indexing
anew makes new arrays, and that is the signal, with a few scores. A change within the arrays or the
corpus is found by the rehash after MAX_AGE_S. Above FULL_BYTES evenly spread parts are hashed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Final, Self

from mvtrace.components.fingerprint import (
    FULL_BYTES,
    FULL_ITEMS,
    METHOD_FULL,
    METHOD_SAMPLED,
    SAMPLE_ITEMS,
    array_bytes,
    combine,
    spread,
)
from mvtrace.components.index_rows import field_bytes
from mvtrace.components.index_source import SnapshotFacts

_PROBES: Final = 16
_ARRAYS: Final = ("data", "indices", "indptr")
_SETTINGS: Final = ("k1", "b", "delta", "method", "idf_method")


class Bm25sIndex:
    """A bm25s index as an IndexSource."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def over(cls, index: Any) -> Self | None:
        """Return the adapter; None for other classes, and before anything was indexed."""
        return cls(index) if hasattr(index, "scores") and hasattr(index, "vocab_dict") else None

    @property
    def size(self) -> int:
        """How many documents it holds."""
        return int(self._index.scores["num_docs"])

    def change_signal(self) -> Hashable:
        """Return which arrays it has, and a few scores."""
        index, scores = self._index, self._index.scores
        probe = scores["data"][:: max(len(scores["data"]) // _PROBES, 1)].tobytes()
        arrays = tuple(id(scores[name]) for name in _ARRAYS)
        corpus = index.corpus
        return arrays, self.size, probe, id(corpus), 0 if corpus is None else len(corpus)

    def snapshot(self) -> SnapshotFacts:
        """Return the fingerprint of scores, vocabulary and corpus."""
        arrays = [self._index.scores[name] for name in _ARRAYS]
        corpus = self._index.corpus or ()
        is_full = sum(one.nbytes for one in arrays) <= FULL_BYTES and len(corpus) <= FULL_ITEMS
        return SnapshotFacts(
            fingerprint=combine(self._items(is_full=is_full)),
            size=self.size,
            dimension=len(self._index.vocab_dict),
            metric="bm25",
            method=METHOD_FULL if is_full else METHOD_SAMPLED,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the library's version and the settings of the scores."""
        from importlib import metadata  # noqa: PLC0415 (7 ms of an import)

        known = {name: getattr(self._index, name) for name in _SETTINGS}
        return {"library": "bm25s", "library_version": metadata.version("bm25s"), **known}

    def _items(self, *, is_full: bool) -> Iterator[tuple[bytes, bytes]]:
        index = self._index
        for name in _ARRAYS:
            whole = index.scores[name]
            part = whole if is_full else whole[:: max(len(whole) // SAMPLE_ITEMS, 1)]
            yield name.encode(), b"%d\n" % len(whole) + array_bytes(part)
        yield b"vocabulary", field_bytes({str(key): at for key, at in index.vocab_dict.items()})
        corpus = index.corpus or ()
        for at in range(len(corpus)) if is_full else spread(len(corpus)):
            yield b"document %d" % at, field_bytes(corpus[at])
