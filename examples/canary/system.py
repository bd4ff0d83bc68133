"""The assistant of this example, in two versions: what answers questions about Python's manual.

In: a question. Out: a few words sampled after the passage that fits best. ``VERSIONS`` names what a
canary may be: worse by a raised temperature, worse by a smaller index, or worded otherwise and as
good. Each is a composite of its own, so that every request says which one answered it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from usearch.index import Index

import mvtrace
from mvtrace.demo.corpus import Passage, passages
from mvtrace.demo.embedding import EmbeddingModel, Vectors
from mvtrace.demo.language_model import LanguageModel

DIMENSIONS: Final = 64
WORDS: Final = 14
PASSAGE_WORDS: Final = 120
PROMPT: Final = "Answer from the passage.\n\n{passage}\n\nQuestion: {question}\nAnswer:"
OTHER_PROMPT: Final = "Use the passage.\n\n{passage}\n\nQuestion: {question}\nAnswer:"


@dataclass(frozen=True)
class Settings:
    """What tells one version from another."""

    temperature: float = 0.3
    indexed: float = 1.0
    """The share of all topics that the index holds."""
    prompt: str = PROMPT


VERSIONS: Final[Mapping[str, Settings]] = {
    "stable": Settings(),
    "hot": Settings(temperature=4.0),
    "small-index": Settings(indexed=0.3),
    "reworded": Settings(prompt=OTHER_PROMPT),
}


class Parts:
    """What all versions have in common: the documents and the two models, made once."""

    def __init__(self) -> None:
        self.passages = passages(PASSAGE_WORDS)
        texts = [one.text for one in self.passages]
        self.language_model = LanguageModel(texts)
        self._embedder = EmbeddingModel(texts, DIMENSIONS)
        self.vectors = self._embedder.embed(texts)
        self.embed = lru_cache(maxsize=4096)(self._embedded)

    def _embedded(self, question: str) -> Vectors:
        return self._embedder.embed([question])[0]


class Assistant:
    """One version, ready to answer."""

    def __init__(self, parts: Parts, settings: Settings) -> None:
        self._parts, self._settings = parts, settings
        topics = sorted({one.topic for one in parts.passages})
        kept = set(topics[: round(len(topics) * settings.indexed)])
        self._index = Index(ndim=DIMENSIONS, metric="cos")
        for key, one in enumerate(parts.passages):
            if one.topic in kept:
                self._index.add(key, parts.vectors[key])
        self._prompt = mvtrace.prompt("answer", settings.prompt)
        self._model = mvtrace.model("trigrams", provider="in-house", model_id="trigrams-topics")
        self._documents = mvtrace.index("topics", self._index)
        self._sampling = {"temperature": settings.temperature, "max_tokens": WORDS}
        self.composite = mvtrace.composite(
            "manual-assistant",
            self._prompt,
            self._model,
            self._documents,
            mvtrace.sampling("default", **self._sampling),
        )

    def answer(self, question: str, seed: int) -> str:
        """Return the answer to *question*."""
        passage = self._found(question)
        with mvtrace.generation(
            "answer", model="trigrams-topics", provider="in-house", prompt=self._prompt,
            sampling=self._sampling, seed=seed, component=self._model,
        ) as call:  # fmt: skip
            call.rendered(self._settings.prompt.format(passage=passage.text, question=question))
            sampled = self._parts.language_model.sample(
                passage.text,
                temperature=self._settings.temperature,
                seed=seed,
                max_tokens=WORDS,
            )
            call.response(
                model="trigrams-topics",
                finish_reason=sampled.finish_reason,
                output_tokens=sampled.output_tokens,
                text=sampled.text,
            )
        return sampled.text

    def _found(self, question: str) -> Passage:
        vector = self._parts.embed(question)
        with mvtrace.retrieval("topics", index=self._documents, query=question, top_k=1) as call:
            found = self._index.search(vector, 1)
            passage = self._parts.passages[int(found.keys[0])]
            call.documents([(passage.id, round(1 - float(found.distances[0]), 4))])
        return passage
