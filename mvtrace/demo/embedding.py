"""A small real embedding model: latent semantic analysis of the corpus, made at start.

In: texts to learn from. Out: unit vectors. Term weights are tf-idf, the projection is the leading
right singular vectors (Deerwester et al., 1990); the weights are saved to files so that mvtrace
pins them by content like any model's.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mvtrace.demo.corpus import words_of

Vectors = npt.NDArray[np.float32]


class EmbeddingModel:
    """Maps text to a unit vector of *dimensions* numbers."""

    def __init__(self, texts: list[str], dimensions: int) -> None:
        documents = [Counter(words_of(text)) for text in texts]
        seen_in = Counter(word for document in documents for word in document)
        self.vocabulary = {
            word: i for i, word in enumerate(sorted(w for w, n in seen_in.items() if n > 1))
        }
        self.weight = np.array(
            [np.log(len(documents) / seen_in[word]) for word in self.vocabulary], dtype=np.float32
        )
        counts = self._weighted(documents)
        # The eigenvectors of the smaller Gram matrix give the same projection, faster than an SVD.
        values, vectors = np.linalg.eigh(counts @ counts.T)
        leading = vectors[:, ::-1][:, :dimensions] / np.sqrt(values[::-1][:dimensions])
        self.projection: Vectors = (counts.T @ leading).astype(np.float32)

    def embed(self, texts: list[str]) -> Vectors:
        """Return one unit vector a text, as rows."""
        rows = self._weighted([Counter(words_of(text)) for text in texts]) @ self.projection
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows / np.where(norms == 0, 1, norms)).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write the weights to *folder*: the vocabulary and the projection."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocabulary.json").write_text(json.dumps(self.vocabulary))
        np.save(folder / "projection.npy", self.projection)

    def _weighted(self, documents: list[Counter[str]]) -> Vectors:
        matrix = np.zeros((len(documents), len(self.vocabulary)), dtype=np.float32)
        for row, document in enumerate(documents):
            for word, count in document.items():
                column = self.vocabulary.get(word)
                if column is not None:
                    matrix[row, column] = (1 + np.log(count)) * self.weight[column]
        norms = np.linalg.norm(matrix, axis=1, keepdims=True)
        return np.asarray(matrix / np.where(norms == 0, 1, norms), dtype=np.float32)
