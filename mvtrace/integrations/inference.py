"""A call of a model by a client library: one generation or embedding on the record.

In: a request of the OpenAI-compatible protocol as the library was asked for it, and its answer: a
mapping, or bytes as they come. Out: what was asked for and who answered, once. Within a generation
that the application wraps itself, the first such call tells the wrapper what it did not know; one
that a library further out has begun is told what was really sent and came back.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakSet

from mvtrace.capture.answer_cache import RESPONSES
from mvtrace.capture.api import current_request_id
from mvtrace.capture.calls import Call, current_call
from mvtrace.capture.embedding_calls import EmbeddingCall, embedding
from mvtrace.capture.guard import fail_open
from mvtrace.capture.model_calls import GenerationCall, generation
from mvtrace.capture.openai_protocol import (
    EMBEDDINGS,
    Answered,
    AnswerReader,
    Asked,
    asked_in,
)
from mvtrace.integrations.awaiting import Awaiting
from mvtrace.integrations.call_site import call_site
from mvtrace.integrations.templates import rendered_into

is_told: Final[ContextVar[bool]] = ContextVar("mvtrace_is_told", default=False)
"""Whether a library further out records the call that is made here."""
_filled: Final[WeakSet[Call]] = WeakSet()
"""Calls of the application's that were told what a library knows."""


class Inference:
    """One call of a model.

    *own* is the call to begin where no other is told of it, *within* the step it belongs to.
    """

    is_taken = False
    """Whether a library beneath tells the call what it knows."""
    is_from_cache = False
    """Whether the answer was made for another request: nobody was asked for this one."""
    ids: tuple[str, ...] = ()
    """Further ids of the response, that only this process knows."""

    def __init__(
        self,
        asked: Asked,
        provider: str,
        reader: type[AnswerReader] = AnswerReader,
        *,
        own: Call | None = None,
        within: Call | None = None,
    ) -> None:
        self.operation = asked.operation
        self.reader = reader
        """What reads an answer of the protocol that was asked in."""
        self._reader = reader(asked.operation, is_stream=False)
        self._is_done = False
        self._is_ours = False
        outer, further = current_call(), AWAITING.take(self._may_take)
        if outer is not None and _takes(outer, asked):
            _filled.add(outer)
            self.call = outer
            _tell(outer, asked, provider)
        elif further is not None:
            further.is_taken = True
            self.call = further.call
            _correct(self.call, asked, provider)
        else:
            self._is_ours = True
            self.call = _call_of(asked, provider) if own is None else own
            self.call.open_within(within)
            if own is None:
                _give_content(self.call, asked)
        _find_template(self.call, asked)

    def _may_take(self, further: Inference) -> bool:
        is_waiting = not further.is_taken and not further._is_done
        is_here = further.call.request_id == current_request_id()
        is_alike = (further.operation == EMBEDDINGS) == (self.operation == EMBEDDINGS)
        return is_waiting and is_here and is_alike

    @fail_open
    def enter(self) -> None:
        """Make the call current while the library works."""
        if self._is_ours:
            self.call.attach()

    @fail_open
    def leave(self) -> None:
        """End that."""
        if self._is_ours:
            self.call.detach()

    @fail_open
    def chunk(self) -> None:
        """Note a piece of a stream."""
        if isinstance(self.call, GenerationCall):
            self.call.chunk()

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
        if found is not None:
            self._tell_answer(found)
        if self._is_ours:
            self.call.close()

    @fail_open
    def _tell_answer(self, found: Answered) -> None:
        call = self.call
        if self.is_from_cache:
            call.cache_origin(RESPONSES.origin_of(found.id, *self.ids))
            if isinstance(call, GenerationCall):
                call.response(finish_reason=found.finish_reason, text=found.text)
            return
        for id_ in (found.id, *self.ids):
            RESPONSES.made(id_, call.request_id)
        if isinstance(call, GenerationCall | EmbeddingCall):
            call.response(**found.facts())
            if found.error is not None:
                call.failed(found.error)
        if isinstance(call, EmbeddingCall):
            call.made(found.vectors, found.dimension)

    @fail_open
    def failed(self, error: BaseException) -> None:
        """End the call by *error*."""
        if not self._is_done and self._is_ours:
            self.call.close(error)
        self._is_done = True


AWAITING: Final[Awaiting[Inference]] = Awaiting("mvtrace_inferences")
"""Calls that a library further out has begun."""


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


def _correct(call: Call, asked: Asked, provider: str) -> None:
    """Tell *call* what was asked for beneath it: that is what the provider got."""
    if isinstance(call, GenerationCall | EmbeddingCall):
        call.model = asked.model or call.model
        call.provider = provider
        _give_content(call, asked)
    if isinstance(call, GenerationCall):
        call.sampling = dict(asked.parameters) or call.sampling
        call.seed = call.seed if asked.seed is None else asked.seed
        call.tools = asked.tools or call.tools


def _call_of(asked: Asked, provider: str) -> GenerationCall | EmbeddingCall:
    name = call_site(asked.operation)
    if asked.operation == EMBEDDINGS:
        call = embedding(name, model=asked.model, provider=provider)
        call.parameters = dict(asked.parameters) or None
        return call
    return generation(
        name,
        model=asked.model,
        provider=provider,
        sampling=dict(asked.parameters) or None,
        seed=asked.seed,
        tools=asked.tools,
        operation=asked.operation,
    )


@fail_open
def _find_template(call: Call, asked: Asked) -> None:
    """Say which template the prompt was rendered from, where one was seen and nothing is said."""
    if isinstance(call, GenerationCall) and call.prompt is None:
        template = rendered_into(asked.content)
        if template is not None:
            call.prompt, call.prompt_version = template.component, template.version
            call.is_prompt_named = template.is_named


def _give_content(call: Call, asked: Asked) -> None:
    if asked.content is None:
        return
    if isinstance(call, GenerationCall):
        call.rendered(asked.content)
    elif isinstance(call, EmbeddingCall):
        call.input(asked.content)
