"""A small server of the OpenAI-compatible protocol, as a real process's neighbour: uvicorn in a thread."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import orjson
import uvicorn
from openai_wire import RESPONSE, RESPONSE_STREAM, STREAM, chunk
from raw_http import running
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

ANSWER = chunk(
    object="chat.completion",
    created=1,
    choices=[
        {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    ],
    usage={"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
)
VECTORS = {
    "object": "list",
    "model": "e-1",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}


class Server:
    """What was asked, and what is answered."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.failures: dict[str, int] = {}
        """Status by the name of a model that fails."""
        self.has_own_ids = False
        """Whether each answer of a chat gets an id that no other ever had."""
        self.scripted: list[dict[str, Any]] = []
        """Messages that are answered first, such as calls of tools."""
        self.url = ""

    def app(self) -> Starlette:
        paths = {"chat/completions": self.chat, "responses": self.responses}
        paths["embeddings"] = self.embeddings
        return Starlette(
            routes=[Route(f"/v1/{path}", do, methods=["POST"]) for path, do in paths.items()]
        )

    async def _asked(self, request: Request) -> dict[str, Any]:
        self.asked.append(orjson.loads(await request.body()))
        return self.asked[-1]

    async def chat(self, request: Request) -> Response:
        asked = await self._asked(request)
        if (status := self.failures.get(asked["model"])) is not None:
            return JSONResponse({"error": {"message": "it fails", "type": "x"}}, status)
        if self.scripted:
            choice = {"index": 0, "message": self.scripted.pop(0), "finish_reason": "tool_calls"}
            return JSONResponse({**ANSWER, "choices": [choice]})
        id_ = f"c-{uuid4().hex}" if self.has_own_ids else str(ANSWER["id"])
        if asked.get("stream"):
            return streamed(STREAM.replace(b'"c-1"', f'"{id_}"'.encode()))
        return JSONResponse({**ANSWER, "id": id_})

    async def responses(self, request: Request) -> Response:
        asked = await self._asked(request)
        return streamed(RESPONSE_STREAM) if asked.get("stream") else JSONResponse(RESPONSE)

    async def embeddings(self, request: Request) -> Response:
        await self._asked(request)
        return JSONResponse(VECTORS)


def streamed(body: bytes) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 40):
            yield body[start : start + 40]

    return StreamingResponse(pieces(), media_type="text/event-stream")


@contextmanager
def serving() -> Iterator[Server]:
    """Run the server."""
    server = Server()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(server.app(), log_level="error", lifespan="off", ws="none")
        with running(config, listener) as port:
            server.url = f"http://127.0.0.1:{port}"
            yield server
