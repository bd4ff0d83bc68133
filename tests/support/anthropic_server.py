"""A small server of Anthropic's Messages protocol, as its API reference describes it."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import uvicorn
from openai_server import streamed
from raw_http import running
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

USAGE = {
    "input_tokens": 5,
    "cache_read_input_tokens": 4,
    "cache_creation_input_tokens": 2,
    "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"thinking_tokens": 1},
    "service_tier": "standard",
}
MESSAGE = {
    "id": "msg-1",
    "type": "message",
    "role": "assistant",
    "model": "claude-m-2026",
    "content": [
        {"type": "thinking", "thinking": "so", "signature": "x"},
        {"type": "text", "text": "Hello"},
    ],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": USAGE,
}


def events(*data: dict[str, Any]) -> bytes:
    """Server-sent events, each with its name."""
    return b"".join(
        b"event: " + one["type"].encode() + b"\ndata: " + orjson.dumps(one) + b"\n\n"
        for one in data
    )


BEGUN = {
    "type": "message_start",
    "message": {
        **MESSAGE,
        "content": [],
        "stop_reason": None,
        "usage": {**USAGE, "output_tokens": 1, "output_tokens_details": {"thinking_tokens": 0}},
    },
}


def _block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    pieces = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *pieces,
        {"type": "content_block_stop", "index": index},
    ]


ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "it fails"}}
STREAM = events(
    BEGUN,
    {"type": "ping"},
    *_block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "so"},
        {"type": "signature_delta", "signature": "x"},
    ),
    *_block(
        1,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "Hel"},
        {"type": "text_delta", "text": "lo"},
    ),
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 3, "output_tokens_details": {"thinking_tokens": 1}},
    },
    {"type": "message_stop"},
)
BROKEN_STREAM = events(
    BEGUN, *_block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hel"}), ERROR
)


class Server:
    """What was asked, and what is answered."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.failures: dict[str, int] = {}
        """Status by the name of a model that fails; 200 is a stream that breaks off."""
        self.url = ""

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/messages", self.messages, methods=["POST"])])

    async def messages(self, request: Request) -> Response:
        self.asked.append(asked := orjson.loads(await request.body()))
        status = self.failures.get(asked["model"])
        if status == 200:
            return streamed(BROKEN_STREAM)
        if status is not None:
            return JSONResponse(ERROR, status)
        if asked.get("stream"):
            return streamed(STREAM)
        if asked["model"] == "zipped":
            body = gzip.compress(orjson.dumps(MESSAGE))
            headers = {"content-type": "application/json", "content-encoding": "gzip"}
            return Response(body, headers=headers)
        return JSONResponse(MESSAGE)


@contextmanager
def serving() -> Iterator[Server]:
    """Run the server."""
    server = Server()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(server.app(), log_level="error", lifespan="off", ws="none")
        with running(config, listener) as port:
            server.url = f"http://127.0.0.1:{port}"
            yield server
