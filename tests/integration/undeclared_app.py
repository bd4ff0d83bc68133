"""An inference server that describes nothing: wrappers around its calls, and one middleware line."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import mvtrace

NOTES = {"a": [1.0, 0.0], "b": [0.0, 1.0]}
STATE = Path(os.environ["UNDECLARED_STATE"])
"""A file with the model that serves: replaced behind everybody's back."""

notes = mvtrace.index("notes", NOTES)
answer = mvtrace.prompt("answer", "Answer: {question}")
TOOLS = [{"type": "function", "function": {"name": "clock", "parameters": {}}}]


def served() -> str:
    """Which model answers just now."""
    return STATE.read_text()


async def chat(request: Request) -> JSONResponse:
    """Route, retrieve, generate."""
    body = await request.json()
    with mvtrace.routing("route", policy={"threshold": 0.5}) as decision:
        decision.candidate("small", score=0.2, threshold=0.5)
        decision.choose("large")
    with mvtrace.retrieval("notes", index=notes, query=body["question"]) as retrieval:
        retrieval.documents([("a", 0.9)])
    with mvtrace.generation(
        "answer",
        model="large",
        provider="here",
        prompt=answer,
        tools=TOOLS,
        sampling={"temperature": body.get("temperature", 0.2)},
    ) as call:
        call.response(model=served(), text=body["question"])
    return JSONResponse({"worker": os.getpid()})


async def dated(_request: Request) -> JSONResponse:
    """Generate by a template that carries the time."""
    template = mvtrace.prompt("dated", f"It is {datetime.now(UTC)}. Answer: {{question}}")
    with mvtrace.generation("answer", model="small", provider="here", prompt=template) as call:
        call.response(model="small-1", text="yes")
    return JSONResponse({"worker": os.getpid()})


app = mvtrace.TraceMiddleware(
    Starlette(
        routes=[Route("/chat", chat, methods=["POST"]), Route("/dated", dated, methods=["POST"])]
    )
)
