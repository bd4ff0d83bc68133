"""What prefork servers serve in the tests: every answer names the process that gave it.

With PREFORK_CONFIGURE in the environment tracing is configured and used on import, which under
``--preload`` is before the fork.
"""

from __future__ import annotations

import asyncio
import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import mvtrace

SYSTEM = mvtrace.composite("prefork", mvtrace.model("m", provider="here", model_id="m-1"))

if os.environ.get("PREFORK_CONFIGURE"):
    mvtrace.configure(service="prefork")
    with mvtrace.request(route="import"), mvtrace.tool("load"):
        pass
    mvtrace.flush(5)


async def echo(request: Request) -> Response:
    number = request.path_params["number"]
    with mvtrace.generation("answer", model="m-1") as call:
        await asyncio.sleep(0.002)
        call.response(model="m-1", text=str(number))
    return JSONResponse({"number": number, "pid": os.getpid()})


app = mvtrace.TraceMiddleware(
    Starlette(routes=[Route("/echo/{number:int}", echo)]), composite=SYSTEM
)
