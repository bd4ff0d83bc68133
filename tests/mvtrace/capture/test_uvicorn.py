"""Under a real server: uvicorn, with a real client that stays or leaves."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
import uvicorn
from captured import Captured, records_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import mvtrace

HEADER = "x-mvtrace-request-id"


def broken(request: Request) -> Response:
    raise RuntimeError("no")


def stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(int(request.query_params["chunks"])):
            yield b"x" * 1000
            await asyncio.sleep(0.01)

    return StreamingResponse(chunks())


@pytest.fixture
def url(captured: Captured) -> Iterator[str]:
    app = Starlette(
        routes=[
            Route("/ok", lambda request: PlainTextResponse("ok")),
            Route("/broken", broken),
            Route("/stream", stream),
        ]
    )
    config = uvicorn.Config(
        mvtrace.TraceMiddleware(app), ws="none", log_level="critical", lifespan="on"
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_answers(captured: Captured, url: str) -> None:
    """
    Answers over a real connection carry the id of their record, the server's error answer too.
    """
    answers = [httpx2.get(f"{url}{path}") for path in ("/ok", "/broken", "/stream?chunks=3", "/no")]

    captured.sink.wait_for(lambda sink: captured.tracing.flush(10) and len(records_of(sink)) == 4)
    found = {record.request_id: record for record in captured.records}
    seen = [found[answer.headers[HEADER]] for answer in answers]
    assert [(r.route or r.path, r.outcome, r.status_code, r.response_bytes) for r in seen] == [
        ("/ok", "ok", 200, 2),
        ("/broken", "error", 500, 21),
        ("/stream", "ok", 200, 3000),
        ("/no", "ok", 404, 9),
    ]
    assert seen[1].error_type == "RuntimeError"


def test_client_that_leaves_a_stream(captured: Captured, url: str) -> None:
    """
    A client that closes its connection during a stream ends the record as one that it left.
    """
    with httpx2.stream("GET", f"{url}/stream?chunks=100000") as answer:
        next(answer.iter_raw())

    captured.sink.wait_for(lambda sink: captured.records)

    record = captured.record
    assert (record.outcome, record.error_type) == ("client_disconnected", None)
    assert 1000 <= (record.response_bytes or 0) < 100_000_000
