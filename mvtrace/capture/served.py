"""A request in the OpenAI-compatible protocol, read as it passes: one call on its record.

In: the events of an HTTP exchange whose path is one of the protocol's. Out: the same events, at the
same moment; then a generation or an embedding with what was asked for and answered. What callers
send (parameters, tools, messages) is on the record; the version gets who served which model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mvtrace.capture.asgi import Message
from mvtrace.capture.declared import MODEL_ID
from mvtrace.capture.encoded_answers import READABLE, EncodedAnswerReader
from mvtrace.capture.guard import fail_open
from mvtrace.capture.http import HttpExchange
from mvtrace.capture.model_calls import SERVED, EmbeddingCall, GenerationCall
from mvtrace.capture.observing import Part
from mvtrace.capture.openai_protocol import (
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
    call.open()
    if asked.content is not None:
        call.input(asked.content)
    return call


class ServedExchange(HttpExchange):
    """An HTTP request of the protocol; others are as any."""

    _body: bytearray | None = None
    _call: ServedGeneration | ServedEmbedding | None = None
    _reader: AnswerReader | None = None
    _operation: str | None = None

    def note_received(self, message: Message) -> None:
        """Count *message*, and keep the body until it is whole."""
        super().note_received(message)
        if message["type"] == "http.request":
            self._read_asked(message)

    @fail_open
    def _read_asked(self, message: Message) -> None:
        if self._body is None:
            self._operation = operation_of(self.scope.get("path", ""))
            self._body = bytearray()
        if self._operation is None or self._call is not None:
            return
        self._body += message.get("body", b"")
        if len(self._body) > MAX_BODY_BYTES:
            self._operation, self._body = None, bytearray()
            self.truncated += 1
        elif not message.get("more_body", False):
            asked = read_request(self._operation, bytes(self._body))
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
        if self._call is None or self._operation is None:
            return
        headers = {
            bytes(name).lower(): bytes(value).lower() for name, value in message.get("headers", ())
        }
        kind = headers.get(b"content-type", b"")
        is_stream = kind.startswith(b"text/event-stream")
        if not is_stream and b"json" not in kind:
            return
        encoding = headers.get(b"content-encoding", b"identity")
        if encoding in READABLE:
            self._reader = EncodedAnswerReader(self._operation, is_stream=is_stream)
        elif encoding == b"identity":
            self._reader = AnswerReader(self._operation, is_stream=is_stream)
        else:
            self.truncated += 1

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
            call.response(**self._answered(reader))
        if self.outcome not in {None, "ok"}:
            call.failed(self.error_type or str(self.outcome), self.outcome or "error")
        elif (self.status_code or 0) >= _REFUSED:
            call.failed(str(self.status_code))
        call.close()

    def _answered(self, reader: AnswerReader) -> dict[str, Any]:
        found = reader.end()
        self.truncated += found.is_cut
        return {
            "model": found.model,
            "id": found.id,
            "fingerprint": found.fingerprint,
            "finish_reason": found.finish_reason,
            "usage": found.usage or None,
            "text": None if found.is_cut else found.text,
        }
