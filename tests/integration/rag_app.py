"""A RAG application whose only words about tracing are its last two lines.

Embedding and answer by LiteLLM's router, the prompt by LangChain, the search by usearch.
"""

from __future__ import annotations

import os
from typing import Any

import litellm
import numpy as np
from langchain_core.prompts import ChatPromptTemplate
from langchain_litellm import ChatLiteLLMRouter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from usearch.index import Index

import mvtrace

NOTES = {1: "Bridges carry roads.", 2: "Boats carry people."}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
PROMPT = ChatPromptTemplate([("system", "Answer from this note: {note}"), ("human", "{question}")])
WHERE = {"api_base": os.environ["PROVIDER_URL"] + "/v1", "api_key": "k", "max_retries": 0}


def deployment(group: str, model: str, order: int = 1) -> dict[str, Any]:
    """A deployment of *group*: ``model`` at the provider."""
    return {
        "model_name": group,
        "litellm_params": {"model": f"openai/{model}", "order": order, **WHERE},
    }


router = litellm.Router(
    model_list=[
        deployment("answers", "large", 1),
        deployment("answers", "small", 2),
        deployment("vectors", "e"),
    ],
    num_retries=1,
    retry_after=0,
)
chain = PROMPT | ChatLiteLLMRouter(
    router=router, model="answers", temperature=0.2, model_kwargs={"tools": [CLOCK]}
)
index = Index(ndim=2, metric="cos")
index.add(np.array([1, 2]), np.array([[0.5, 0.25], [0.25, 0.5]], dtype=np.float32))


async def ask(request: Request) -> JSONResponse:
    """Embed, find the nearest note, answer from it."""
    question = (await request.json())["question"]
    embedded = await router.aembedding(model="vectors", input=[question])
    found = index.search(np.array(embedded.data[0]["embedding"], dtype=np.float32), 1)
    answer = await chain.ainvoke({"note": NOTES[int(found.keys[0])], "question": question})
    return JSONResponse({"answer": answer.content})


async def reindex(_: Request) -> JSONResponse:
    """Add a note, and tell nobody."""
    index.add(3, np.array([0.1, 0.9], dtype=np.float32))
    return JSONResponse({"notes": len(index)})


mvtrace.instrument()
app = mvtrace.TraceMiddleware(
    Starlette(routes=[Route(f"/{do.__name__}", do, methods=["POST"]) for do in (ask, reindex)])
)
