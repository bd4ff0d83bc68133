"""One HTTP request: counts what passes through ``receive`` and ``send``, adds one header.

In: ASGI events. Out: the same events, with ``x-mvtrace-request-id`` on the answer's start and
nothing else changed. Counters and first and last byte, never a span a chunk. An answer is complete
when its last body event (or its trailers) went out; what follows is background work of the request.
"""

from __future__ import annotations

from abc import abstractmethod
from time import perf_counter_ns
from typing import Any, Final

from mvtrace import semconv
from mvtrace.capture import plain
from mvtrace.capture.asgi import Message, Receive, Scope, Send
from mvtrace.capture.declared import Declared
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import fail_open, note_failure
from mvtrace.capture.pipeline import Tracing
from mvtrace.capture.route import route_of

HEADER: Final = semconv.REQUEST_ID_HEADER.encode()
MAX_PATH: Final = 2048
MAX_METHOD: Final = 64
SERVER_ERROR: Final = 500
INCOMPLETE: Final = "incomplete_response"
"""``error.type`` of an application that returned without a whole answer."""
_BY_REFERENCE: Final = frozenset({"http.response.pathsend", "http.response.zerocopysend"})
"""Bodies the server reads from a file itself: their size is not seen here."""


class AsgiExchange(RequestExchange):
    """What HTTP and websockets have in common."""

    first_byte_at: int | None = None
    last_byte_at: int | None = None
    status_code: int | None = None
    request_bytes = 0
    response_bytes = 0
    response_chunks = 0
    is_disconnected = False
    is_complete = False

    def __init__(
        self,
        tracing: Tracing,
        declared: Declared,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        arm: str | None,
    ) -> None:
        super().__init__(tracing, declared, arm=arm)
        self.scope = scope
        self._receive = receive
        self._send = send
        self.path = plain.text(scope.get("path", ""), MAX_PATH, self)

    def with_request_id(self, message: Message) -> Message:
        """Return *message* with our header, and without one of another mvtrace behind us."""
        headers = [header for header in message.get("headers", ()) if header[0].lower() != HEADER]
        headers.append((HEADER, self.request_id.encode()))
        return {**message, "headers": headers}

    async def receive(self) -> Message:
        """Pass on the next event from the client."""
        message = await self._receive()
        self.note_received(message)
        return message

    @abstractmethod
    def note_received(self, message: Message) -> None:
        """Count *message*."""

    @abstractmethod
    async def send(self, message: Message) -> None:
        """Pass *message* on to the client."""

    @fail_open
    def note_send_failed(self) -> None:
        """Note that the server could not pass an event on: the client is gone."""
        self.is_disconnected = self.is_disconnected or not self.is_complete

    @fail_open
    def note_exception(self, error: BaseException) -> None:
        """Note what the application raised: after a complete answer it does not fail the answer."""
        super().note_exception(error)
        if self.is_complete:
            self.outcome = None
        elif self.is_disconnected:
            self.outcome = "client_disconnected"

    def transfer_facts(self) -> dict[str, Any]:
        """Return status, times and sizes."""
        return {
            "status_code": self.status_code,
            "first_byte_at": self.first_byte_at,
            "last_byte_at": self.last_byte_at,
            "request_bytes": self.request_bytes,
            "response_bytes": self.response_bytes,
            "response_chunks": self.response_chunks,
        }

    def conclude(self) -> None:
        """Settle route, end and outcome."""
        self.route = route_of(self.scope)
        if self.outcome is None and self.is_disconnected:
            self.outcome = "client_disconnected"
        super().conclude()
        self.scope = {}  # it refers to this exchange: no cycle may outlive the request


class HttpExchange(AsgiExchange):
    """A request and its response."""

    protocol = "http"
    _has_trailers = False

    def __init__(
        self,
        tracing: Tracing,
        declared: Declared,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        arm: str | None,
    ) -> None:
        super().__init__(tracing, declared, scope, receive, send, arm=arm)
        self.method = plain.text(scope.get("method", ""), MAX_METHOD, self)

    def span_name(self) -> str:
        """Return the name of our own span; with the route once it is known."""
        method = self.method or "HTTP"
        return method if self.route is None else f"{method} {self.route}"

    def start_attributes(self) -> dict[str, Any]:
        """Return method and path."""
        return {semconv.HTTP_METHOD: self.method or "", semconv.URL_PATH: self.path or ""}

    def end_attributes(self) -> dict[str, Any]:
        """Return what came of the request."""
        found = super().end_attributes()
        route = self.route or route_of(self.scope)
        if route is not None:
            found[semconv.HTTP_ROUTE] = route
        if self.status_code is not None:
            found[semconv.HTTP_STATUS] = self.status_code
        found[semconv.HTTP_RESPONSE_BODY_SIZE] = self.response_bytes
        found[semconv.RESPONSE_CHUNKS] = self.response_chunks
        return found

    @fail_open
    def note_received(self, message: Message) -> None:
        """Count *message*; a disconnect after a complete answer is the ordinary end."""
        if message["type"] == "http.request":
            self.request_bytes += len(message.get("body", b""))
        elif message["type"] == "http.disconnect" and not self.is_complete:
            self.is_disconnected = True

    async def send(self, message: Message) -> None:
        """Pass *message* on to the client, the start of the answer with our header."""
        is_last = False
        try:  # not fail_open, which costs as much as the rest, 0.3 µs a chunk
            if message.get("type") == "http.response.start":
                message = self.note_start(message)
            else:
                is_last = self.note_sent(message)
        except Exception as error:  # noqa: BLE001 (tracing never hurts a request)
            note_failure(error)
        try:
            await self._send(message)
        except OSError:
            self.note_send_failed()
            raise
        if is_last:
            self.note_complete()

    def note_start(self, message: Message) -> Message:
        """Note the status; return *message* with our header."""
        self.status_code = message["status"]
        self._has_trailers = bool(message.get("trailers", False))
        return self.with_request_id(message)

    def note_sent(self, message: Message) -> bool:
        """Count *message*, which is not the start; whether it is the last of the answer."""
        kind = message.get("type")
        if kind == "http.response.body":
            size = len(message.get("body", b""))
            if size:
                self.last_byte_at = now = perf_counter_ns() + self.clock_offset
                if not self.response_chunks:
                    self.first_byte_at = now
                self.response_bytes += size
                self.response_chunks += 1
        elif kind == "http.response.trailers":
            return self._note_last(is_last=not message.get("more_trailers", False))
        elif kind not in _BY_REFERENCE:
            return False
        if message.get("more_body", False):
            return False
        return self._note_last(is_last=not self._has_trailers)

    @fail_open
    def note_complete(self) -> None:
        """Note that the last of the answer went out: what follows is background work."""
        self.is_complete = not self.is_disconnected
        self.ended_at = self.now()

    def _note_last(self, *, is_last: bool) -> bool:
        # OpenTelemetry's ASGI middleware ends its span while it sends the last event; what is set
        # later is dropped.
        if is_last and not self.owns_span and self.span.is_recording():
            self.span.set_attributes(self.end_attributes())
        return is_last

    def conclude(self) -> None:
        """Settle what came of it: an answer that is not whole is an error of somebody."""
        super().conclude()
        if self.outcome != "ok":
            return
        if not (self.is_complete or self.errors):
            self.outcome, self.error_type = "error", self.error_type or INCOMPLETE
        elif self.status_code is not None and self.status_code >= SERVER_ERROR:
            self.outcome = "error"
            self.error_type = self.error_type or str(self.status_code)
