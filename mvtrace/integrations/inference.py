"""A call of a model by a client library: one generation or embedding on the record.

In: a request of the OpenAI-compatible protocol as the library was asked for it, and its answer: a
mapping, or bytes as they come. Out: what was asked for and who answered, once. Within a generation
that the application wraps itself, the first such call tells the wrapper what it did not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakSet

from mvtrace.capture.calls import Call, current_call
from mvtrace.capture.guard import fail_open
from mvtrace.capture.model_calls import EmbeddingCall, GenerationCall, embedding, generation
from mvtrace.capture.openai_protocol import (
    EMBEDDINGS,
    Answered,
    AnswerReader,
    Asked,
    asked_in,
)
from mvtrace.integrations.call_site import call_site

is_told: Final[ContextVar[bool]] = ContextVar("mvtrace_is_told", default=False)
"""Whether a library further out records the call that is made here."""
_filled: Final[WeakSet[Call]] = WeakSet()
"""Calls of the application's that were told what a library knows."""


class Inference:
    """One call of a model."""

    def __init__(self, asked: Asked, provider: str) -> None:
        self.operation = asked.operation
        self._reader = AnswerReader(asked.operation, is_stream=False)
        outer = current_call()
        self._is_ours = not _takes(outer, asked)
        if outer is not None and not self._is_ours:
            _filled.add(outer)
            self._call = outer
            _tell(outer, asked, provider)
        else:
            self._call = _call_of(asked, provider)
            self._call.open()
            _give_content(self._call, asked)
        self._is_done = False

    @fail_open
    def enter(self) -> None:
        """Make the call current while the library works."""
        if self._is_ours:
            self._call.attach()

    @fail_open
    def leave(self) -> None:
        """End that."""
        if self._is_ours:
            self._call.detach()

    @fail_open
    def chunk(self) -> None:
        """Note a piece of a stream."""
        if isinstance(self._call, GenerationCall):
            self._call.chunk()

    @fail_open
    def piece(self, plain: Mapping[str, Any]) -> None:
        """Take a piece of a stream that the library has parsed."""
        before = self._reader.chunks
        self._reader.take(plain)
        if self._reader.chunks > before:
            self.chunk()

    def end_of_pieces(self) -> None:
        """End the call of a stream."""
        self.end(self._reader.answered)

    @fail_open
    def told(self, plain: Mapping[str, Any]) -> None:
        """Take a whole answer."""
        self._reader.take(plain)
        self.end(self._reader.answered)

    @fail_open
    def end(self, found: Answered | None = None) -> None:
        """End the call, with what is *found* in the answer."""
        if self._is_done:
            return
        self._is_done = True
        call = self._call
        if found is not None and isinstance(call, GenerationCall | EmbeddingCall):
            call.response(
                model=found.model,
                id=found.id,
                fingerprint=found.fingerprint,
                finish_reason=found.finish_reason,
                usage=found.usage or None,
                text=None if found.is_cut else found.text,
            )
        if self._is_ours:
            call.close()

    @fail_open
    def failed(self, error: BaseException) -> None:
        """End the call by *error*."""
        if not self._is_done and self._is_ours:
            self._call.close(error)
        self._is_done = True


def inference_of(operation: str, plain: Mapping[str, Any], provider: str) -> Inference | None:
    """Return the call that *plain* asks for; None where somebody else records it."""
    if is_told.get():
        return None
    return Inference(asked_in(operation, plain), provider)


def _takes(outer: Call | None, asked: Asked) -> bool:
    """Whether *outer* is the application's own wrapper of this very call."""
    kind = EmbeddingCall if asked.operation == EMBEDDINGS else GenerationCall
    return isinstance(outer, kind) and outer not in _filled


def _tell(outer: Call, asked: Asked, provider: str) -> None:
    if isinstance(outer, GenerationCall | EmbeddingCall):
        outer.model = outer.model or asked.model
        outer.provider = outer.provider or provider
    if isinstance(outer, GenerationCall):
        outer.sampling = outer.sampling or dict(asked.parameters) or None
        outer.seed = asked.seed if outer.seed is None else outer.seed
        outer.tools = outer.tools or asked.tools


def _call_of(asked: Asked, provider: str) -> GenerationCall | EmbeddingCall:
    name = call_site(asked.operation)
    if asked.operation == EMBEDDINGS:
        return embedding(name, model=asked.model, provider=provider)
    return generation(
        name,
        model=asked.model,
        provider=provider,
        sampling=dict(asked.parameters) or None,
        seed=asked.seed,
        tools=asked.tools,
        operation=asked.operation,
    )


def _give_content(call: GenerationCall | EmbeddingCall, asked: Asked) -> None:
    if asked.content is None:
        return
    if isinstance(call, GenerationCall):
        call.rendered(asked.content)
    else:
        call.input(asked.content)
