"""One service of a chain: it asks the next one, and a provider, and has a composite of its own."""

from __future__ import annotations

import os

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import mvtrace

NAME = os.environ["MVTRACE_SERVICE"]
NEXT = os.environ.get("NEXT_URL")
PROVIDER = os.environ["PROVIDER_URL"]


async def step(_: Request) -> JSONResponse:
    """Answer with what the services below answered."""
    async with httpx2.AsyncClient() as client:
        below = (await client.get(NEXT, timeout=30)).json() if NEXT else []
        told = (await client.get(PROVIDER, timeout=30)).json()
    own = {"service": NAME, "id": mvtrace.current_request_id(), "provider_was_told": told}
    return JSONResponse([own, *below])


mvtrace.instrument()
system = mvtrace.composite(NAME, mvtrace.sampling("default", temperature=0.5, service=NAME))
app = mvtrace.TraceMiddleware(Starlette(routes=[Route("/step", step)]), composite=system)
