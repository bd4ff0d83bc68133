"""The demo's inference server: FastAPI under uvicorn, with one middleware line.

Run as ``python -m mvtrace.demo.server``; prints the address it listens on. Everything about
tracing comes from the environment (``MVTRACE_URL``, ``MVTRACE_SPOOL_DIR`` …).
"""

from __future__ import annotations

import random
import socket
import sys
import tempfile
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field

import mvtrace
from mvtrace.demo.system import DemoSystem


class Question(BaseModel):
    """What a caller asks; seed and temperature are the caller's own."""

    question: str = Field(max_length=2000)
    seed: int | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)


class Reply(BaseModel):
    """The answer, and the id under which it can be explained."""

    answer: str
    route: str
    documents: list[str]
    request_id: str | None


class Reindex(BaseModel):
    """How long the passages of the new index shall be, in words."""

    words_per_passage: int = Field(ge=20, le=2000)


def build_app(system: DemoSystem) -> FastAPI:
    """Return the application around *system*."""
    app = FastAPI(title="pydoc assistant")
    app.add_middleware(mvtrace.TraceMiddleware, composite=system.composite)

    @app.post("/ask")
    def ask(body: Question) -> Reply:
        seed = random.getrandbits(31) if body.seed is None else body.seed
        answer = system.answer(body.question, temperature=body.temperature, seed=seed)
        return Reply(
            answer=answer.text,
            route=answer.route,
            documents=answer.documents,
            request_id=mvtrace.current_request_id(),
        )

    @app.post("/admin/reindex")
    def reindex(body: Reindex) -> dict[str, int]:
        return {"passages": system.reindex(body.words_per_passage)}

    return app


def main() -> None:
    """Serve on a free loopback port until told to stop."""
    mvtrace.configure(service="pydoc-assistant", environment="demo")
    with tempfile.TemporaryDirectory(prefix="mvtrace-demo-weights-") as folder:
        app = build_app(DemoSystem(Path(folder)))
        # Named as TCP, or asyncio leaves Nagle's delay on: 40 ms an answer.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.bind(("127.0.0.1", int((sys.argv[1:] or ["0"])[0])))
            listener.listen()  # from here on nobody is refused, however long the start takes
            port = listener.getsockname()[1]
            sys.stdout.write(f"demo server listens on http://127.0.0.1:{port}\n")
            sys.stdout.flush()
            config = uvicorn.Config(app, log_level="warning", access_log=False)
            uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
