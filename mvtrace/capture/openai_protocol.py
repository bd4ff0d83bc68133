"""The OpenAI-compatible protocol as bytes that pass by: what was asked for, and what was answered.

In: the body of a request, and the pieces of its answer in any cut, JSON or server-sent events. Out:
model asked and served, parameters, seed, tools, tokens, finish reason, ids. Pure, and bounded: what
is longer than the limits below is not read, and said so. The bytes themselves are never changed.

Read are ``chat/completions``, ``completions``, ``responses`` and ``embeddings``, as OpenAI's API
reference describes them and as vLLM, llama.cpp, TGI, Ollama and others answer them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

MAX_BODY_BYTES: Final = 16 << 20
"""Of a longer request or answer only the size is known."""
MAX_EVENT_BYTES: Final = 1 << 20
"""A server-sent event that is longer is not read."""
MAX_TEXT: Final = 4 << 20
"""Characters of a streamed answer that are held for its digest."""

CHAT: Final = "chat"
COMPLETION: Final = "text_completion"
RESPONSES: Final = "responses"
EMBEDDINGS: Final = "embeddings"
ENDPOINTS: Final = {
    "/chat/completions": CHAT,
    "/completions": COMPLETION,
    "/responses": RESPONSES,
    "/embeddings": EMBEDDINGS,
}
"""How a path ends, and what it asks for; the longest end counts."""

PARAMETERS: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "stop",
    "n",
    "best_of",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "length_penalty",
    "min_tokens",
    "stop_token_ids",
    "ignore_eos",
    "use_beam_search",
    "chat_template_kwargs",
    "logit_bias",
    "reasoning_effort",
    "dimensions",
)
"""What decides how an answer is sampled."""
_CONTENT: Final = {
    CHAT: "messages",
    COMPLETION: "prompt",
    RESPONSES: "input",
    EMBEDDINGS: "input",
}


_UNSEEN: Final = ("reasoning_content", "reasoning", "tool_calls", "function_call", "refusal")
"""Pieces of an answer that are none of its text: a stream has begun with them all the same."""
_FLOAT_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for."""

    operation: str
    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    tools: Sequence[Any] = ()
    content: object = None
    """Messages, prompt or input, as they came."""
    conversation: str | None = None
    is_stream: bool = False


@dataclass(slots=True)
class Answered:
    """What is known of an answer so far."""

    model: str | None = None
    id: str | None = None
    fingerprint: str | None = None
    finish_reason: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    length: int = 0
    is_cut: bool = False
    """Whether a part of it was too long, or no JSON, and was not read."""
    error: str | None = None
    """The kind of an error that was told in place of the rest."""
    vectors: int | None = None
    dimension: int | None = None

    @property
    def text(self) -> str | None:
        """The whole text; None where there is none, or it was too long to hold."""
        return "".join(self.texts) if self.texts and self.length <= MAX_TEXT else None

    def facts(self) -> dict[str, Any]:
        """Return what ``response`` of a call is told."""
        return {
            "model": self.model,
            "id": self.id,
            "fingerprint": self.fingerprint,
            "finish_reason": self.finish_reason,
            "usage": self.usage or None,
            "text": None if self.is_cut else self.text,
        }


def operation_of(path: str) -> str | None:
    """Return what a request to *path* asks for; None where it is not of this protocol."""
    for end, operation in ENDPOINTS.items():
        if path.rstrip("/").endswith(end):
            return operation
    return None


def read_request(operation: str, body: bytes) -> Asked | None:
    """Return what *body* asks for; None where it is no such request."""
    try:
        plain = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return asked_in(operation, plain) if isinstance(plain, dict) else None


def asked_in(operation: str, plain: Mapping[str, Any]) -> Asked:
    """Return what the parsed request *plain* asks for."""
    seed = plain.get("seed")
    tools = plain.get("tools")
    conversation = plain.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    return Asked(
        operation=operation,
        model=text_in(plain.get("model")),
        parameters={key: plain[key] for key in PARAMETERS if plain.get(key) is not None},
        seed=seed if type(seed) is int else None,
        tools=tools if isinstance(tools, list) else (),
        content=plain.get(_CONTENT[operation]),
        conversation=text_in(conversation),
        is_stream=plain.get("stream") is True,
    )


class AnswerReader:
    """Reads an answer as its pieces pass by."""

    def __init__(self, operation: str, *, is_stream: bool) -> None:
        self.answered = Answered()
        self.chunks = 0
        """Pieces of text that a stream has told so far."""
        self._operation = operation
        self._is_stream = is_stream
        self._pending = bytearray()
        self._data: list[bytes] = []
        self._is_skipping = False
        """Whether the rest of a line that is too long passes by."""

    def feed(self, piece: bytes) -> None:
        """Take the next *piece* of the body, cut anywhere."""
        if self._is_stream:
            self._feed_events(piece)
        elif len(self._pending) + len(piece) <= MAX_BODY_BYTES:
            self._pending += piece
        else:
            self.answered.is_cut = True

    def take(self, plain: Mapping[str, Any]) -> None:
        """Take a whole answer, or one event of a stream, that somebody else has parsed."""
        self._read(plain)

    def end(self) -> Answered:
        """Return what the whole answer says."""
        if self._is_stream:
            self._feed_events(b"\n\n")
        elif self._pending and not self.answered.is_cut:
            self._take(bytes(self._pending))
        self._pending.clear()
        return self.answered

    # Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html

    def _feed_events(self, piece: bytes) -> None:
        *lines, rest = piece.split(b"\n")
        for line in lines:
            if self._is_skipping:
                self._is_skipping = False
            elif self._pending:
                self._line(bytes(self._pending + line))
            else:
                self._line(line)
            self._pending.clear()
        if self._is_skipping:
            return
        self._pending += rest
        if len(self._pending) > MAX_EVENT_BYTES:
            self._pending.clear()
            self._is_skipping = self.answered.is_cut = True

    def _line(self, line: bytes) -> None:
        line = line.rstrip(b"\r")
        if line.startswith(b"data:"):
            if sum(map(len, self._data)) + len(line) <= MAX_EVENT_BYTES:
                self._data.append(line[5:].removeprefix(b" "))
            else:
                self.answered.is_cut = True
        elif not line and self._data:
            data, self._data = b"\n".join(self._data), []
            if data != b"[DONE]":
                self._take(data)

    def _take(self, data: bytes) -> None:
        try:
            plain = orjson.loads(data)
        except orjson.JSONDecodeError:
            self.answered.is_cut = True
            return
        if isinstance(plain, dict):
            self._read(plain)

    def _read(self, plain: Mapping[str, Any]) -> None:
        self._read_error(plain)
        kind = plain.get("type")
        if self._operation == RESPONSES and isinstance(kind, str) and kind.startswith("response."):
            self._read_event(kind, plain)
            return
        self._read_common(plain)
        if self._operation == EMBEDDINGS:
            self._read_vectors(dicts_in(plain.get("data")))
        elif self._operation == RESPONSES:
            for item in dicts_in(plain.get("output")):
                for part in dicts_in(item.get("content")):
                    self._add_text(part.get("text"))
        for choice in dicts_in(plain.get("choices")):
            self._read_choice(choice)

    def _read_event(self, kind: str, event: Mapping[str, Any]) -> None:
        if kind == "response.output_text.delta":
            self._add_text(event.get("delta"))
        whole = event.get("response")
        if isinstance(whole, dict):
            self._read_error(whole)
            self._read_common(whole)

    def _read_error(self, plain: Mapping[str, Any]) -> None:
        error = plain.get("error")
        if isinstance(error, dict) and error:
            kind = text_in(error.get("type")) or text_in(error.get("code"))
            self.answered.error = kind or "error"  # its message may hold content

    def _read_vectors(self, data: list[dict[str, Any]]) -> None:
        if data:
            self.answered.vectors = len(data)
            self.answered.dimension = dimension_of(data[0].get("embedding"))

    def _read_common(self, plain: Mapping[str, Any]) -> None:
        found = self.answered
        found.model = text_in(plain.get("model")) or found.model
        found.id = text_in(plain.get("id")) or found.id
        found.fingerprint = text_in(plain.get("system_fingerprint")) or found.fingerprint
        usage = plain.get("usage")
        if isinstance(usage, dict):
            found.usage = usage_of(usage)
        if self._operation == RESPONSES:
            details = plain.get("incomplete_details")
            reason = details.get("reason") if isinstance(details, dict) else plain.get("status")
            if reason != "in_progress":
                found.finish_reason = text_in(reason) or found.finish_reason

    def _read_choice(self, choice: dict[str, Any]) -> None:
        self.answered.finish_reason = (
            text_in(choice.get("finish_reason")) or self.answered.finish_reason
        )
        before, delta = self.chunks, choice.get("delta")
        for holder in (choice, delta, choice.get("message")):
            if isinstance(holder, dict):
                self._add_text(holder.get("text"))
                self._add_text(holder.get("content"))
        if self.chunks == before and isinstance(delta, dict) and any(map(delta.get, _UNSEEN)):
            self.chunks += 1

    def _add_text(self, text: object) -> None:
        if not isinstance(text, str) or not text:
            return
        found = self.answered
        self.chunks += 1
        found.length += len(text)
        if found.length <= MAX_TEXT:
            found.texts.append(text)
        else:
            found.texts.clear()


def usage_of(usage: Mapping[str, Any]) -> dict[str, int]:
    """Return a provider's token counts, those it nests too, flat."""
    found: dict[str, int] = {}
    for key, value in usage.items():
        nested = value.items() if isinstance(value, dict) else ((key, value),)
        found.update({name: count for name, count in nested if type(count) is int})
    return found


def dimension_of(vector: object) -> int | None:
    """Return the dimension of *vector*: a list of numbers, or their bytes in base64."""
    if isinstance(vector, list):
        return len(vector)
    if isinstance(vector, str):
        return (len(vector) * 3 // 4 - vector[-2:].count("=")) // _FLOAT_BYTES
    return None


def dicts_in(items: object) -> list[dict[str, Any]]:
    """Return the objects of a list; none where it is no list."""
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def text_in(value: object) -> str | None:
    """Return a text that is not empty; None for everything else."""
    return value if isinstance(value, str) and value else None
