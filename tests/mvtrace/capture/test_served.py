"""A server of the OpenAI-compatible protocol behind the middleware: same bytes, full evidence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from captured import Captured
from openai_wire import RESPONSE, STREAM, WHOLE
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import mvtrace

SERVED = {"model": "m-2024"}


async def chat(request: Request) -> Response:
    """Answer as such servers do."""
    body = await request.json()
    if body["model"] == "unknown":
        return JSONResponse({"error": {"message": "no such model"}}, 404)
    if not body.get("stream"):
        return Response(
            WHOLE.replace(b"m-2024", SERVED["model"].encode()), 200, None, "application/json"
        )

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(STREAM), 7):
            yield STREAM[start : start + 7]
            await asyncio.sleep(0)

    return StreamingResponse(pieces(), media_type="text/event-stream")


async def responses(request: Request) -> Response:
    await request.body()
    return JSONResponse(RESPONSE)


async def embeddings(request: Request) -> Response:
    await request.body()
    return JSONResponse({"data": [], "model": "e-1", "usage": {"prompt_tokens": 4}})


SERVER = Starlette(
    routes=[
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/responses", responses, methods=["POST"]),
        Route("/v1/embeddings", embeddings, methods=["POST"]),
    ]
)
ASKED: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "a secret question"}],
    "temperature": 0.5,
    "seed": 7,
}


@pytest.fixture
def client() -> TestClient:
    """The server behind the middleware."""
    return TestClient(mvtrace.TraceMiddleware(SERVER, protocol="openai"))


@pytest.mark.parametrize("stream", [False, True])
def test_chat(captured: Captured, client: TestClient, stream: bool) -> None:
    """
    The answer's bytes are the server's; the record has what was asked and answered, without a word.
    """
    reply = client.post("/v1/chat/completions", json={**ASKED, "stream": stream})

    assert reply.content == (STREAM if stream else WHOLE)
    [record] = captured.records
    [call] = record.calls
    assert (call.kind, call.name) == ("generation", "chat")
    assert (call.model_requested, call.model_served) == ("m", "m-2024")
    assert (call.sampling, call.seed) == ({"temperature": 0.5}, 7)
    assert (call.response_id, call.fingerprint, call.finish_reason) == ("c-1", "fp", "stop")
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens) == (9, 3)
    assert (call.usage.cache_read_input_tokens, call.usage.reasoning_output_tokens) == (4, 1)
    assert (call.time_to_first_chunk_ns is not None) == stream
    assert call.prompt is not None
    assert call.prompt.rendered_digest is not None
    assert call.output_digest == captured.tracing.keyed_digest("Hello")
    assert b"secret" not in record.to_bytes()
    assert [span.name for span in captured.spans if "chat" in span.name]


def test_version_holds_who_serves_and_nothing_of_callers(
    captured: Captured, client: TestClient
) -> None:
    """
    Requests that differ only in what callers send have one version; another model behind the same
    name makes another, and says so.
    """
    bodies = [
        ASKED,
        {**ASKED, "temperature": 0.9, "seed": 8, "tools": [{"type": "function"}]},
        {**ASKED, "messages": []},
        {**ASKED, "model": "unknown"},
    ]
    for body in bodies:
        client.post("/v1/chat/completions", json=body)
    SERVED["model"] = "m-2025"
    try:
        client.post("/v1/chat/completions", json=ASKED)
    finally:
        SERVED["model"] = "m-2024"

    records = captured.records
    assert len({record.composite_version for record in records[:4]}) == 1
    assert records[4].composite_version != records[0].composite_version
    assert [(one.kind, one.name, one.what) for one in records[4].drift] == [
        ("model", "m", "changed")
    ]
    assert (records[3].calls[0].outcome, records[3].calls[0].error_type) == ("error", "404")


def test_responses_and_embeddings(captured: Captured, client: TestClient) -> None:
    """
    The other endpoints are read too.
    """
    client.post("/v1/responses", json={"model": "m", "input": "Hi"})
    client.post("/v1/embeddings", json={"model": "e", "input": ["Hi"]})

    first, second = (record.calls[0] for record in captured.records)
    assert (first.name, first.model_served, first.finish_reason) == (
        "responses", "m-2024", "completed",
    )  # fmt: skip
    assert (second.kind, second.model_requested, second.model_served) == ("embedding", "e", "e-1")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"model": 5, "messages": {}}', b"\xff\xfe", b'{"seed": 1e999}']
)
def test_bodies_that_are_none(captured: Captured, content: bytes) -> None:
    """
    What is no such request passes as it came, and the request is recorded.
    """
    seen: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": content})

    client = TestClient(mvtrace.TraceMiddleware(app, protocol="openai"))
    reply = client.post("/v1/chat/completions", content=content)

    assert (seen, reply.content) == ([content], content)
    [record] = captured.records
    assert record.outcome == "ok"
    assert record.capture is not None
    assert record.capture.errors == 0


def test_first_byte_is_not_held_back(captured: Captured) -> None:
    """
    Each piece of a stream is with the client before the next one is made.
    """
    order: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for start in range(0, len(STREAM), 50):
            order.append("made")
            piece = STREAM[start : start + 50]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def talk() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": orjson.dumps(ASKED)}

        async def send(message: dict[str, Any]) -> None:
            if message.get("body"):
                order.append("sent")

        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
        await mvtrace.TraceMiddleware(app, protocol="openai")(scope, receive, send)

    asyncio.run(talk())

    assert order == ["made", "sent"] * (len(order) // 2)
    assert captured.records[0].calls[0].finish_reason == "stop"


def test_unknown_protocol_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """
    A protocol that is not read is an error in the log, and no request fails.
    """
    with caplog.at_level(logging.ERROR, "mvtrace"):
        mvtrace.TraceMiddleware(SERVER, protocol="grpc")

    assert "'grpc' is none that is read" in caplog.text
