"""Answers in the OpenAI-compatible protocol, as servers write them."""

from __future__ import annotations

from typing import Any

import orjson

USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
FLAT = {"prompt_tokens": 9, "completion_tokens": 3, "cached_tokens": 4, "reasoning_tokens": 1}


def events(*data: dict[str, Any]) -> bytes:
    """Server-sent events as a server writes them."""
    return b"".join(b"data: " + orjson.dumps(one) + b"\n\n" for one in data) + b"data: [DONE]\n\n"


def chunk(**facts: Any) -> dict[str, Any]:
    """A chunk of a chat answer."""
    return {"id": "c-1", "model": "m-2024", "system_fingerprint": "fp", "choices": [], **facts}


def delta(text: str | None, reason: str | None = None) -> dict[str, Any]:
    return chunk(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": reason}])


STREAM = events(delta("Hel"), delta("lo"), delta(None, "stop"), chunk(usage=USAGE))
WHOLE = orjson.dumps(
    chunk(
        choices=[{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        usage=USAGE,
    )
)
RESPONSE = {
    "id": "r-1",
    "model": "m-2024",
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
    "usage": {"input_tokens": 9, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 4}},
}
RESPONSE_STREAM = events(
    {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "usage": None}},
    {"type": "response.output_text.delta", "delta": "Hel"},
    {"type": "response.output_text.delta", "delta": "lo"},
    {"type": "response.completed", "response": RESPONSE},
)
