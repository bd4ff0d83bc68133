"""A server that serves what its lock pins, and refuses to start where something differs.

Run: ``uvicorn app:app`` in this folder, after ``mvtrace pin``.
"""

from __future__ import annotations

from pathlib import Path

import answering
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import mvtrace

system = mvtrace.locked(Path(__file__).with_name("mvtrace.lock"))


async def ask(request: Request) -> JSONResponse:
    """Answer one question."""
    return JSONResponse({"answer": answering.answer(system, request.query_params["question"])})


app = mvtrace.TraceMiddleware(Starlette(routes=[Route("/ask", ask)]), composite=system)
