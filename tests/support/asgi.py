"""Hand-driven ASGI conversations: a server's side whose every event the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

Message = dict[str, Any]


def http_scope(
    path: str = "/ask", headers: Iterable[tuple[bytes, bytes]] = (), **more: Any
) -> Message:
    """Return the scope of a POST."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"secret=1",
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
        **more,
    }


def websocket_scope(path: str = "/live") -> Message:
    """Return the scope of a websocket."""
    scope = http_scope(path)
    del scope["method"]
    return {**scope, "type": "websocket", "scheme": "ws", "subprotocols": []}


class Conversation:
    """What a server does: *incoming* events in order, then silence; *sent* is what it was given."""

    def __init__(
        self,
        *incoming: Message,
        fail_send_at: int | None = None,
        on_send: Callable[[Message], None] | None = None,
    ) -> None:
        self._incoming = list(incoming)
        self._fail_send_at = fail_send_at
        self._on_send = on_send
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if not self._incoming:
            await asyncio.Event().wait()
        return self._incoming.pop(0)

    async def send(self, message: Message) -> None:
        if self._fail_send_at is not None and len(self.sent) >= self._fail_send_at:
            raise OSError("the client is gone")
        self.sent.append(message)
        if self._on_send is not None:
            self._on_send(message)

    def run(self, app: Any, scope: Message) -> None:
        """Run one call of *app* to its end."""
        asyncio.run(app(scope, self.receive, self.send))


REQUEST: Message = {"type": "http.request", "body": b"hello", "more_body": False}
DISCONNECT: Message = {"type": "http.disconnect"}


def start(status: int = 200, **more: Any) -> Message:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(b"content-type", b"text/plain")],
        **more,
    }


def body(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
