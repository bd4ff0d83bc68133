"""A request in the OpenAI-compatible protocol, read as it passes: one call on its record.

In: the events of an HTTP exchange whose path is one of the protocol's, or that of Anthropic's
messages, which many of its servers speak beside it. Out: the same events, at the same moment; then
a generation or an embedding with what was asked for and answered. What callers send (parameters,
tools, messages) is on the record; the version gets who served which model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

from mvtrace.capture import anthropic_protocol
from mvtrace.capture.anthropic_protocol import MessagesReader
from mvtrace.capture.asgi import Message
from mvtrace.capture.declared import MODEL_ID
from mvtrace.capture.embedding_calls import EmbeddingCall
from mvtrace.capture.encoded_answers import ENCODED, READABLE
from mvtrace.capture.guard import fail_open
from mvtrace.capture.http import HttpExchange
from mvtrace.capture.model_calls import SERVED, GenerationCall
from mvtrace.capture.observing import Part
from mvtrace.capture.openai_protocol import (
    CHAT,
    EMBEDDINGS,
    MAX_BODY_BYTES,
    AnswerReader,
    Asked,
    operation_of,
    read_request,
)
from mvtrace.components.component import Component
from mvtrace.components.prompt import tools as pinned_tools

OPENAI: Final = "openai"
"""Name of the protocol in ``protocol=`` and ``MVTRACE_PROTOCOL``."""
_REFUSED: Final = 400
"""From this status on nothing was generated."""


class Spoken(NamedTuple):
    """What a path is asked in."""

    operation: str
    read: Callable[[bytes], Asked | None]
    reader: type[AnswerReader]


def spoken_at(path: str) -> Spoken | None:
    """Return the protocol of a request to *path*; None where it is none that is read."""
    operation = operation_of(path)
    if operation is not None:
        return Spoken(operation, partial(read_request, operation), AnswerReader)
    if path.rstrip("/").endswith(anthropic_protocol.PATH_END):
        return Spoken(CHAT, anthropic_protocol.read_request, MessagesReader)
    return None


class ServedGeneration(GenerationCall):
    """A generation that this server answers itself."""

    provider = None

    def parts(self) -> Iterator[Part | Component]:
        """Yield who served the model: all else is the caller's."""
        yield from _served_model(self)


class ServedEmbedding(EmbeddingCall):
    """An embedding that this server answers itself."""

    def parts(self) -> Iterator[Part | Component]:
        """Yield who served the model."""
        yield from _served_model(self)


def _served_model(call: GenerationCall | EmbeddingCall) -> Iterator[Part | Component]:
    if isinstance(call.component, Component):
        yield call.component
    elif call.served is not None and call.is_ok:
        name = call.model or call.served
        facts = {MODEL_ID: name, SERVED: call.served}
        yield Part(call.slot_kind, name, facts, at_call=False)


def _generation(asked: Asked) -> ServedGeneration:
    call = ServedGeneration(asked.operation)
    call.model, call.operation = asked.model, asked.operation
    call.sampling, call.seed = dict(asked.parameters) or None, asked.seed
    call.open()
    if asked.content is not None:
        call.rendered(asked.content)
    return call


def _embedding(asked: Asked) -> ServedEmbedding:
    call = ServedEmbedding(asked.operation)
    call.model = asked.model
    call.parameters = dict(asked.parameters) or None
    call.open()
    if asked.content is not None:
        call.input(asked.content)
    return call


class ServedExchange(HttpExchange):
    """An HTTP request of the protocol; others are as any."""

    _body: bytearray | None = None
    _call: ServedGeneration | ServedEmbedding | None = None
    _reader: AnswerReader | None = None
    _spoken: Spoken | None = None

    def note_received(self, message: Message) -> None:
        """Count *message*, and keep the body until it is whole."""
        super().note_received(message)
        if message["type"] == "http.request":
            self._read_asked(message)

    @fail_open
    def _read_asked(self, message: Message) -> None:
        if self._body is None:
            self._spoken = spoken_at(self.scope.get("path", ""))
            self._body = bytearray()
        if self._spoken is None or self._call is not None:
            return
        self._body += message.get("body", b"")
        if len(self._body) > MAX_BODY_BYTES:
            self._spoken, self._body = None, bytearray()
            self.truncated += 1
        elif not message.get("more_body", False):
            asked = self._spoken.read(bytes(self._body))
            self._body.clear()
            if asked is not None:
                self._ask(asked)

    def _ask(self, asked: Asked) -> None:
        """Begin the call."""
        if asked.conversation is not None and self.conversation_id is None:
            self.conversation_id = asked.conversation
        if asked.tools:
            definitions = pinned_tools(asked.operation, asked.tools)
            self.add_observed("tools", asked.operation, definitions.digest)
        if asked.operation == EMBEDDINGS:
            self._call = _embedding(asked)
        else:
            self._call = _generation(asked)

    def note_start(self, message: Message) -> Message:
        """Note the status, and how the answer is to be read."""
        started = super().note_start(message)
        self._begin_answer(message)
        return started

    @fail_open
    def _begin_answer(self, message: Message) -> None:
        if self._call is None or self._spoken is None:
            return
        headers = {
            bytes(name).lower(): bytes(value).lower() for name, value in message.get("headers", ())
        }
        kind = headers.get(b"content-type", b"")
        is_stream = kind.startswith(b"text/event-stream")
        if not is_stream and b"json" not in kind:
            return
        encoding = headers.get(b"content-encoding", b"identity")
        reader = self._spoken.reader
        if encoding in READABLE:
            reader = ENCODED[reader]
        elif encoding != b"identity":
            self.truncated += 1
            return
        self._reader = reader(self._spoken.operation, is_stream=is_stream)

    async def send(self, message: Message) -> None:
        """Pass *message* on to the client, then read it."""
        await super().send(message)
        if self._reader is not None and message.get("type") == "http.response.body":
            self._read_answer(message.get("body", b""))

    @fail_open
    def _read_answer(self, piece: bytes) -> None:
        reader, call = self._reader, self._call
        if reader is None or call is None or not piece:
            return
        before = reader.chunks
        reader.feed(piece)
        if reader.chunks > before and isinstance(call, ServedGeneration):
            call.chunk()

    def conclude(self) -> None:
        """Settle the call too."""
        super().conclude()
        self._end_call()

    @fail_open
    def _end_call(self) -> None:
        call, reader = self._call, self._reader
        self._call = self._reader = self._body = None
        if call is None:
            return
        if reader is not None:
            self._tell(call, reader)
        if self.outcome not in {None, "ok"}:
            call.failed(self.error_type or str(self.outcome), self.outcome or "error")
        elif (self.status_code or 0) >= _REFUSED:
            call.failed(str(self.status_code))
        call.close()

    def _tell(self, call: ServedGeneration | ServedEmbedding, reader: AnswerReader) -> None:
        found = reader.end()
        self.truncated += found.is_cut
        call.response(**found.facts())
        if isinstance(call, ServedEmbedding):
            call.made(found.vectors, found.dimension)
        if found.error is not None:
            call.failed(found.error)
