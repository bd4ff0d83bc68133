"""Anthropic's Messages protocol, read as `openai_protocol` reads its own.

In: what a request to ``/v1/messages`` asks for, and the pieces of its answer. Out: the same
``Asked`` and ``Answered``. Input tokens are counted as OpenTelemetry counts them, cached ones
included: the protocol itself leaves them out of ``input_tokens``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from mvtrace.capture.openai_protocol import CHAT, AnswerReader, Asked, dicts_in, text_in, usage_of

PATH_END: Final = "/v1/messages"
"""How a path ends that asks for a message."""
PARAMETERS: Final = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "thinking",
    "tool_choice",
    "service_tier",
    "speed",
)
"""What decides how an answer is sampled; ``effort`` of ``output_config`` besides."""
_INPUT: Final = "input_tokens"
_CACHED: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")


def asked_in(plain: Mapping[str, Any]) -> Asked:
    """Return what the parsed request *plain* asks for."""
    parameters = {key: plain[key] for key in PARAMETERS if plain.get(key) is not None}
    config = plain.get("output_config")
    if isinstance(config, Mapping) and config.get("effort") is not None:
        parameters["effort"] = config["effort"]
    tools = plain.get("tools")
    content = {key: plain[key] for key in ("system", "messages") if plain.get(key) is not None}
    return Asked(
        operation=CHAT,
        model=text_in(plain.get("model")),
        parameters=parameters,
        tools=tools if isinstance(tools, list) else (),
        content=content or None,
        is_stream=plain.get("stream") is True,
    )


def read_request(body: bytes) -> Asked | None:
    """Return what *body* asks for; None where it is no such request."""
    try:
        plain = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return asked_in(plain) if isinstance(plain, dict) else None


class MessagesReader(AnswerReader):
    """Reads an answer as its pieces pass by."""

    def _read(self, plain: Mapping[str, Any]) -> None:
        kind = plain.get("type")  # a tuple below, not a set: a stranger's may not be hashable
        if kind == "message":
            self._read_message(plain)
        elif kind == "message_start":
            self._read_message(_mapping(plain.get("message")))
        elif kind in ("content_block_start", "content_block_delta"):
            self._read_block(_mapping(plain.get("content_block") or plain.get("delta")))
        elif kind == "message_delta":
            self._read_end(_mapping(plain.get("delta")), plain.get("usage"))
        else:
            self._read_error(plain)

    def _read_message(self, message: Mapping[str, Any]) -> None:
        found = self.answered
        found.model = text_in(message.get("model")) or found.model
        found.id = text_in(message.get("id")) or found.id
        for block in dicts_in(message.get("content")):
            self._read_block(block)
        self._read_end(message, message.get("usage"))

    def _read_block(self, block: Mapping[str, Any]) -> None:
        before = self.chunks
        self._add_text(block.get("text"))
        if self.chunks == before and str(block.get("type")).endswith("_delta"):
            self.chunks += 1  # of its thinking, or of a tool's input

    def _read_end(self, delta: Mapping[str, Any], usage: object) -> None:
        found = self.answered
        found.finish_reason = text_in(delta.get("stop_reason")) or found.finish_reason
        if isinstance(usage, Mapping):
            counts = usage_of(usage)
            if _INPUT in counts:
                counts[_INPUT] += sum(counts.get(name, 0) for name in _CACHED)
            found.usage.update(counts)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
