"""What is in production: an ASGI app that names the topic of a note. ``SYSTEM`` is its folder.

The folder has ``mvtrace.toml``, ``mvtrace.lock`` and the weights; where they are not what the lock
pins, the app refuses to start.
"""

from __future__ import annotations

import os
from pathlib import Path

import uvicorn
from model import Model  # beside this file
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import mvtrace

FOLDER = Path(os.environ["SYSTEM"])
SYSTEM = mvtrace.locked(FOLDER / "mvtrace.lock")
WEIGHTS = Model(str(FOLDER / "model.npz"))


async def topic(request: Request) -> JSONResponse:
    """Say which topic the note in the body has."""
    text = (await request.json())["text"]
    with mvtrace.generation(
        "topic", model="topics", provider="in-house", component=SYSTEM.component("model", "topics")
    ) as call:
        (found,) = WEIGHTS.topics([text])
        call.response(model="topics", text=found)
    return JSONResponse({"topic": found, "request_id": mvtrace.current_request_id()})


def main() -> None:
    """Serve on a free port of the loopback, until a signal."""
    app = Starlette(routes=[Route("/topic", topic, methods=["POST"])])
    traced = mvtrace.TraceMiddleware(app, composite=SYSTEM)
    server = uvicorn.Server(uvicorn.Config(traced, port=0, log_level="info", access_log=False))
    server.run()


if __name__ == "__main__":
    main()
