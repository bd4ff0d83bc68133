"""A RAG application that keeps its answers, and whose index somebody changes."""

from __future__ import annotations

import functools
import os

from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import mvtrace

NOTES = {"a": [0.5, 0.25], "b": [0.25, 0.5]}
client = OpenAI(base_url=os.environ["PROVIDER_URL"] + "/v1", api_key="k", max_retries=0)


@mvtrace.cached(functools.lru_cache(maxsize=100))
def answer(question: str) -> str | None:
    """Find the first note, and answer from it."""
    with mvtrace.retrieval("notes", index=NOTES, query=question) as call:
        call.documents([(name, vector[0]) for name, vector in NOTES.items()])
    messages = [{"role": "user", "content": f"{next(iter(NOTES))}: {question}"}]
    reply = client.chat.completions.create(model="m", messages=messages)  # type: ignore[arg-type]
    return reply.choices[0].message.content


async def ask(request: Request) -> JSONResponse:
    """Answer, perhaps from the cache."""
    return JSONResponse({"answer": answer((await request.json())["question"])})


async def index(request: Request) -> JSONResponse:
    """Add a note to the index."""
    NOTES[(await request.json())["name"]] = [1.0, 0.0]
    return JSONResponse({"notes": len(NOTES)})


mvtrace.instrument()
routes = [Route("/ask", ask, methods=["POST"]), Route("/index", index, methods=["POST"])]
app = mvtrace.TraceMiddleware(Starlette(routes=routes))
