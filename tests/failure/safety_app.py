"""A real uvicorn server whose event loop is watched; ``/stats`` tells what it saw.

usage: python safety_app.py DESCRIPTOR     (of the listening socket)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import mvtrace
from mvtrace.capture.pipeline import current_tracing

worst = {"delay_s": 0.0}


async def watch_loop() -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.005)
        worst["delay_s"] = max(worst["delay_s"], time.monotonic() - before - 0.005)


@contextlib.asynccontextmanager
async def watched(app: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(watch_loop())
    yield
    task.cancel()


async def echo(request: Request) -> Response:
    number = request.path_params["number"]
    size = int(request.query_params.get("size", "0"))
    with mvtrace.generation("answer", model="m-1") as call:
        mvtrace.annotate(number=number, said="x" * size)
        call.response(model="m-1", text=str(number))
    return JSONResponse({"number": number, "pid": os.getpid()})


async def stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in range(20):
            yield b"%d\n" % chunk

    return StreamingResponse(chunks(), media_type="text/plain")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def stats(request: Request) -> Response:
    """Tell what was seen since the last time."""
    seen, worst["delay_s"] = worst["delay_s"], 0.0
    told: dict[str, object] = {"delay_s": seen, "resident": resident_bytes(), "pid": os.getpid()}
    if "MVTRACE_DISABLED" not in os.environ:
        # Beside the loop: what an operator's probe reads may look at the disk.
        told |= await asyncio.to_thread(current_tracing().stats)
    return JSONResponse(told)


routes = [Route("/echo/{number:int}", echo), Route("/stream", stream), Route("/stats", stats)]
app = mvtrace.TraceMiddleware(Starlette(routes=routes[:2]))
bare = Starlette(routes=routes[2:], lifespan=watched)


async def both(scope: Any, receive: Any, send: Any) -> None:
    """Serve ``/stats`` and the lifespan untraced, everything else traced."""
    is_traced = scope["type"] != "lifespan" and scope.get("path") != "/stats"
    await (app if is_traced else bare)(scope, receive, send)


if __name__ == "__main__":
    listener = socket.socket(fileno=int(sys.argv[1]))
    uvicorn.Server(uvicorn.Config(both, log_level="warning")).run(sockets=[listener])
