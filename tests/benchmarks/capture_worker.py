"""One variant of an application under load in a process of its own; prints one JSON line.

usage: python capture_worker.py VARIANT ROUTE REQUESTS     (SINK in the environment: an OTLP URL)

The application is driven by awaiting it, without server and sockets, so that what is measured is
the middleware. CPU is that of the whole process: background encoding and shipping is not free.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

App = Callable[..., Awaitable[None]]
WARM_UP = 300


async def answer(request: Request) -> Response:
    return JSONResponse({"ok": True, "id": 7})


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(50):
        yield b'data: {"choices":[{"delta":{"content":"tok"}}]}\n\n'


async def stream(request: Request) -> Response:
    return StreamingResponse(chunks(), media_type="text/event-stream")


def bare() -> App:
    return Starlette(routes=[Route("/json", answer), Route("/stream", stream)])


def wrapper() -> App:
    """The floor of wrapping: an empty middleware."""
    inner = bare()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def forward(message: Any) -> None:
            await send(message)

        await inner(scope, receive, forward)

    return app


def opentelemetry(*, exclude: bool) -> App:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    exporter = OTLPSpanExporter(endpoint=os.environ["SINK"] + "/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=1 << 16))
    excluded = ["receive", "send"] if exclude else None
    return OpenTelemetryMiddleware(bare(), tracer_provider=provider, exclude_spans=excluded)


def mvtrace_middleware() -> App:
    import mvtrace

    folder = tempfile.mkdtemp()
    mvtrace.configure(
        service="bench", environment="bench", url=os.environ["SINK"], spool_dir=folder
    )
    system = mvtrace.composite("bench", mvtrace.model("m", provider="bench", model_id="m"))
    return mvtrace.TraceMiddleware(bare(), composite=system)


def mvtrace_rollout() -> App:
    """The same with a canary for a tenth of the users, each request of another one."""
    import mvtrace

    app = mvtrace_middleware()
    stable, canary = (
        mvtrace.composite("bench", mvtrace.model("m", provider="bench", model_id=name))
        for name in ("m", "m-2")
    )
    users = iter(range(1 << 62))
    app.composite = mvtrace.rollout(  # type: ignore[attr-defined]
        stable=stable, canary=canary, share=0.1, key=lambda scope: f"user-{next(users)}"
    )
    return app


VARIANTS: dict[str, Callable[[], App]] = {
    "bare": bare,
    "wrapper": wrapper,
    "mvtrace": mvtrace_middleware,
    "mvtrace-rollout": mvtrace_rollout,
    "opentelemetry": lambda: opentelemetry(exclude=False),
    "opentelemetry-tuned": lambda: opentelemetry(exclude=True),
}


async def drive(app: App, path: str, requests: int) -> None:
    scope = {
        "type": "http",
        # From 2.4 on a server tells of a disconnect by raising from send, and Starlette does not
        # ask receive for it beside the stream.
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"x-request-id", b"abc"), (b"accept", b"*/*")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        pass

    for _ in range(requests):
        await app(dict(scope), receive, send)


def main() -> None:
    variant, path, requests = sys.argv[1], sys.argv[2], int(sys.argv[3])
    app = VARIANTS[variant]()
    asyncio.run(drive(app, path, WARM_UP))
    time.sleep(0.5)
    cpu = time.process_time()
    asyncio.run(drive(app, path, requests))
    calling = time.process_time() - cpu
    time.sleep(2.0)  # let background threads finish: their CPU counts
    total = time.process_time() - cpu
    print(
        json.dumps({"calling_us": calling / requests * 1e6, "process_us": total / requests * 1e6})
    )
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
