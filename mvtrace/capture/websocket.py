"""One websocket connection: one record, started at accept, with counters and the close code.

In: ASGI events. Out: the same events, with our header on the accept or on the denial. A message is
no span and no record. The status of the record is the close code; of a connection that was never
accepted it is the HTTP status of the denial.
"""

from __future__ import annotations

from typing import Any, Final

from mvtrace import semconv
from mvtrace.capture.asgi import Message
from mvtrace.capture.guard import fail_open
from mvtrace.capture.http import SERVER_ERROR, AsgiExchange
from mvtrace.capture.watch import WATCH

DENIED: Final = 403
"""What a server answers when an application closes before it accepts (ASGI specification)."""
NORMAL: Final = 1000
NO_STATUS: Final = 1005
_PEACEFUL: Final = frozenset({NORMAL, 1001, NO_STATUS})
_SERVER_FAULTS: Final = frozenset({1011, 1012, 1013, 1014})


class WebSocketExchange(AsgiExchange):
    """A connection, from its handshake to its close."""

    protocol = "websocket"

    messages_received = 0
    is_accepted = False

    def span_name(self) -> str:
        """Return the name of our own span; the route once it is known."""
        return self.route or "websocket"

    def start_attributes(self) -> dict[str, Any]:
        """Return the path."""
        return {semconv.URL_PATH: self.path or ""}

    def end_attributes(self) -> dict[str, Any]:
        """Return what came of the connection."""
        found = super().end_attributes()
        if self.route is not None:
            found[semconv.HTTP_ROUTE] = self.route
        found[semconv.RESPONSE_CHUNKS] = self.response_chunks
        return found

    @fail_open
    def note_received(self, message: Message) -> None:
        """Count a message; note how the client left."""
        if message["type"] == "websocket.receive":
            self.messages_received += 1
            self.request_bytes += payload_bytes(message)
        elif message["type"] == "websocket.disconnect" and not self.is_complete:
            self.status_code = message.get("code", NO_STATUS)
            self.ended_at = self.now()
            self.is_complete = self.status_code in _PEACEFUL
            self.is_disconnected = not self.is_complete

    async def send(self, message: Message) -> None:
        """Pass *message* on to the client, the accept or the denial with our header."""
        forwarded = self.note_sent(message)
        try:
            await self._send(message if forwarded is None else forwarded)
        except OSError:
            self.note_send_failed()
            raise

    @fail_open
    def note_sent(self, message: Message) -> Message:
        """Count *message*; return what to pass on."""
        kind = message["type"]
        if kind == "websocket.send":
            self._count_sent(message)
        elif kind == "websocket.accept":
            self.is_accepted = True
            WATCH.forget(self)
            self.send_started()
            return self.with_request_id(message)
        elif kind == "websocket.http.response.start":
            self.status_code = message["status"]
            return self.with_request_id(message)
        elif kind == "websocket.http.response.body":
            self._count_body(message)
        elif kind == "websocket.close":
            self._note_close(message.get("code", NORMAL) if self.is_accepted else DENIED)
        return message

    def _count_sent(self, message: Message) -> None:
        self.last_byte_at = self.now()
        if self.first_byte_at is None:
            self.first_byte_at = self.last_byte_at
        self.response_bytes += payload_bytes(message)
        self.response_chunks += 1

    def _count_body(self, message: Message) -> None:
        self.response_bytes += len(message.get("body", b""))
        if not message.get("more_body", False):
            self._note_close(self.status_code)

    def _note_close(self, code: int | None) -> None:
        if self.is_complete or self.is_disconnected:
            return  # the client was first
        self.status_code = code
        self.is_complete = True
        self.ended_at = self.now()
        if not self.owns_span and self.span.is_recording():
            self.span.set_attributes(self.end_attributes())

    def conclude(self) -> None:
        """Settle what came of it: closing for a fault of the server is an error."""
        super().conclude()
        code = self.status_code
        if self.outcome != "ok" or code is None:
            return
        if code in _SERVER_FAULTS or SERVER_ERROR <= code < NORMAL:
            self.outcome, self.error_type = "error", self.error_type or str(code)

    def transfer_facts(self) -> dict[str, Any]:
        """Return close code, times and counters."""
        return {**super().transfer_facts(), "messages_received": self.messages_received}


def payload_bytes(message: Message) -> int:
    """Return the size of a websocket message as UTF-8 or bytes."""
    data = message.get("bytes")
    if data is not None:
        return len(data)
    text: str = message.get("text") or ""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
