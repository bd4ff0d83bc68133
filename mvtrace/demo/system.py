"""The demo's AI system: index, router, two ways to answer, and the composite pinning them all.

In: a question. Out: an answer with its passages. Every step is wrapped by mvtrace, which is all
the tracing there is. :meth:`DemoSystem.reindex` cuts the corpus another way, in place, and tells
nobody: the drift that the explanation has to show.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from usearch.index import Index

import mvtrace
from mvtrace.demo.corpus import Passage, passages, words_of
from mvtrace.demo.embedding import EmbeddingModel
from mvtrace.demo.language_model import LanguageModel

DIMENSIONS: Final = 96
PROMPT: Final = (
    "Answer the question from the passages.\n\n{passages}\n\nQuestion: {question}\nAnswer:"
)
POLICY: Final[dict[str, Any]] = {"feature": "top_score", "threshold": 0.56, "above": "extractive"}
SAMPLING: Final[dict[str, Any]] = {"temperature": 0.8, "max_tokens": 60}


class Answer(NamedTuple):
    """What the server sends back."""

    text: str
    route: str
    documents: list[str]


def tidy(text: str) -> str:
    """Return *text* as one sentence: a capital first, a full stop last."""
    flat = " ".join(text.split())
    return flat[:1].upper() + flat[1:].rstrip(" .") + "."


class DemoSystem:
    """One retrieval-augmented system, built in a folder that holds its weights."""

    def __init__(self, folder: Path) -> None:
        first = passages(120)
        texts = [passage.text for passage in first]
        self.embedder = EmbeddingModel(texts, DIMENSIONS)
        self.language_model = LanguageModel(texts)
        self.embedder.save(folder / "embedding")
        self.language_model.save(folder / "trigrams.json")
        self.index = Index(ndim=DIMENSIONS, metric="cos")
        self.documents: list[Passage] = []
        self.fill(first)
        self._declare(folder)

    def fill(self, documents: list[Passage]) -> None:
        """Put *documents* into the index, instead of whatever is there."""
        self.index.reset()  # type: ignore[no-untyped-call]
        self.documents = documents
        vectors = self.embedder.embed([document.text for document in documents])
        for key, vector in enumerate(vectors):
            self.index.add(key, vector)

    def reindex(self, words_per_passage: int) -> int:
        """Cut the corpus another way and index that; returns the number of passages."""
        self.fill(passages(words_per_passage))
        return len(self.documents)

    def _declare(self, folder: Path) -> None:
        """Pin every part: this is the state the operator believes to be serving."""
        self.embedding_component = mvtrace.embedding_model(
            "lsa", provider="mvtrace-demo", model_id="lsa-96", path=folder / "embedding"
        )
        self.model_component = mvtrace.model(
            "trigrams",
            provider="mvtrace-demo",
            model_id="trigrams-topics",
            path=folder / "trigrams.json",
        )
        self.index_component = mvtrace.index(
            "topics", self.index, embedding_model=self.embedding_component
        )
        self.prompt_component = mvtrace.prompt("answer", PROMPT)
        self.router_component = mvtrace.router(
            "route", policy=POLICY, candidates=["extractive", self.model_component]
        )
        self.tidy_component = mvtrace.postprocess("tidy", tidy)
        self.composite = mvtrace.composite(
            "pydoc-assistant",
            self.model_component,
            self.embedding_component,
            self.index_component,
            self.prompt_component,
            self.router_component,
            self.tidy_component,
            mvtrace.sampling("default", **SAMPLING),
            mvtrace.stack(packages=["usearch", "numpy"]),
        )

    def answer(self, question: str, *, temperature: float | None, seed: int) -> Answer:
        """Answer *question*; *seed* and *temperature* are the caller's, so on the record only."""
        hits = self._retrieved(question)
        route = self._routed(hits)
        if route == "extractive":
            raw = self._extracted(question, hits[0][0])
        else:
            raw = self._generated(question, hits, temperature=temperature, seed=seed)
        with mvtrace.postprocess("tidy", component=self.tidy_component) as call:
            text = tidy(raw)
            call.output(text)
        return Answer(text, route, [passage.id for passage, _ in hits])

    def _retrieved(self, question: str) -> list[tuple[Passage, float]]:
        with mvtrace.embedding("question", model="lsa-96", component=self.embedding_component):
            vector = self.embedder.embed([question])[0]
        with mvtrace.retrieval(
            "topics", index=self.index_component, query=question, top_k=4
        ) as call:
            found = self.index.search(vector, 4)
            keys, distances = found.keys.ravel().tolist(), found.distances.ravel().tolist()
            hits = [
                (self.documents[key], round(1 - distance, 4))
                for key, distance in zip(keys, distances, strict=True)
            ]
            call.documents([(passage.id, score) for passage, score in hits])
        return hits

    def _routed(self, hits: list[tuple[Passage, float]]) -> str:
        top = hits[0][1]
        threshold = float(POLICY["threshold"])
        above = top >= threshold
        with mvtrace.routing(
            "route", router=self.router_component, features={"top_score": top}
        ) as call:
            call.candidate(
                "extractive",
                score=top,
                threshold=threshold,
                reason=f"top score {top} {'reaches' if above else 'is below'} {threshold}",
            )
            call.candidate(
                "trigrams",
                score=round(1 - top, 4),
                threshold=round(1 - threshold, 4),
                reason="an extract is good enough" if above else "no passage is close enough",
            )
            chosen = "extractive" if above else "trigrams"
            call.choose(chosen, reason=f"top_score {top} against threshold {threshold}")
        return chosen

    def _extracted(self, question: str, passage: Passage) -> str:
        with mvtrace.generation("extract", model="extractive", provider="mvtrace-demo") as call:
            wanted = set(words_of(question))
            sentences = passage.text.replace("\n", " ").split(". ")
            best = max(sentences, key=lambda s: len(wanted & set(words_of(s))))
            call.response(model="extractive", finish_reason="stop", text=best)
        return best

    def _generated(
        self,
        question: str,
        hits: list[tuple[Passage, float]],
        *,
        temperature: float | None,
        seed: int,
    ) -> str:
        context = "\n".join(passage.text for passage, _ in hits)
        sampling: dict[str, Any] = dict(SAMPLING)
        if temperature is not None:
            sampling["temperature"] = temperature
        prompt = PROMPT.format(passages=context, question=question)
        with mvtrace.generation(
            "answer",
            model="trigrams-topics",
            provider="mvtrace-demo",
            prompt=self.prompt_component,
            sampling=sampling,
            seed=seed,
            component=self.model_component,
        ) as call:
            call.rendered(prompt)
            sampled = self.language_model.sample(
                context,
                temperature=float(sampling["temperature"]),
                seed=seed,
                max_tokens=int(sampling["max_tokens"]),
            )
            call.response(
                model="trigrams-topics",
                finish_reason=sampled.finish_reason,
                input_tokens=len(words_of(prompt)),
                output_tokens=sampled.output_tokens,
                text=sampled.text,
            )
        return sampled.text
