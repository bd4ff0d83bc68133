"""Anthropic's Messages protocol, read from bytes in any cut."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
import pytest
from anthropic_server import BROKEN_STREAM, MESSAGE, STREAM
from captured import Captured
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

import mvtrace
from mvtrace.capture.anthropic_protocol import MessagesReader, asked_in
from mvtrace.capture.openai_protocol import CHAT, Answered

COUNTED = {
    "input_tokens": 11,
    "output_tokens": 3,
    "cache_read_input_tokens": 4,
    "cache_creation_input_tokens": 2,
    "thinking_tokens": 1,
}


def read(body: bytes, *, is_stream: bool, cuts: list[int] | None = None) -> Answered:
    """Feed *body* in pieces."""
    reader = MessagesReader(CHAT, is_stream=is_stream)
    start = 0
    for cut in sorted(cuts or []):
        reader.feed(body[start:cut])
        start = max(start, cut)
    reader.feed(body[start:])
    return reader.end()


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_stream_reads_the_same_in_any_cut(cuts: list[int]) -> None:
    """
    However the network cuts a stream, the same is read as of the whole answer; what it thinks is
    none of its text.
    """
    whole = read(orjson.dumps(MESSAGE), is_stream=False)
    for found in (read(STREAM, is_stream=True, cuts=cuts), whole):
        assert (found.model, found.id) == ("claude-m-2026", "msg-1")
        assert (found.text, found.finish_reason) == ("Hello", "end_turn")
        assert {key: found.usage[key] for key in COUNTED} == COUNTED
        assert (found.error, found.is_cut) == (None, False)


def test_a_stream_that_breaks_off() -> None:
    """
    An error within a stream is known by its kind; what came before is kept.
    """
    found = read(BROKEN_STREAM, is_stream=True)

    assert (found.error, found.model, found.text) == ("overloaded_error", "claude-m-2026", "Hel")


def test_what_is_asked() -> None:
    """
    Model, parameters, tools and the prompt's content; what is no parameter is none.
    """
    plain: dict[str, Any] = {
        "model": "claude-m",
        "max_tokens": 64,
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
        "metadata": {"user_id": "u"},
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"name": "look"}],
        "stream": True,
    }
    asked = asked_in(plain)

    assert (asked.model, asked.is_stream, asked.tools) == ("claude-m", True, [{"name": "look"}])
    assert asked.parameters == {"max_tokens": 64, "thinking": {"type": "adaptive"}, "effort": "low"}
    assert asked.content == {key: plain[key] for key in ("system", "messages")}


async def messages(request: Request) -> Response:
    """Answer as a server of the protocol does."""
    if (await request.json()).get("stream"):
        return Response(STREAM, media_type="text/event-stream")
    body = gzip.compress(orjson.dumps(MESSAGE))
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    return Response(body, headers=headers)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/threads/t-1/messages"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_behind_the_middleware(captured: Captured, path: str, is_stream: bool) -> None:
    """
    A server that answers so, behind the middleware, compressed too: full evidence, and no word of
    it. What another protocol calls messages is left alone.
    """
    app = Starlette(routes=[Route(path, messages, methods=["POST"])])
    client = TestClient(mvtrace.TraceMiddleware(app, protocol="openai"))
    said = [{"role": "user", "content": "a secret"}]
    asked = {"model": "claude-m", "max_tokens": 64, "messages": said, "stream": is_stream}
    reply = client.post(path, json=asked)

    assert reply.content == (STREAM if is_stream else orjson.dumps(MESSAGE))
    record = captured.record
    assert b"secret" not in record.to_bytes()
    if path != "/v1/messages":
        assert record.calls == ()
        return
    [call] = record.calls
    assert (call.kind, call.name) == ("generation", "chat")
    assert (call.model_requested, call.model_served) == ("claude-m", "claude-m-2026")
    assert (call.sampling, call.finish_reason) == ({"max_tokens": 64}, "end_turn")
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens) == (11, 3)
    assert call.output_digest == captured.tracing.keyed_digest("Hello")
    assert (call.time_to_first_chunk_ns is not None) == is_stream


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"type": "message", "content": None, "usage": None},
        {"type": "message", "content": ["text", {"text": 5}], "usage": {"input_tokens": "1"}},
        {"type": "message_start", "message": "x"},
        {"type": "content_block_delta", "delta": ["x"]},
        {"type": "message_delta", "usage": [1]},
        {"type": ["x"], "error": "x"},
    ],
)
def test_strange_answers_say_nothing(plain: dict[str, Any]) -> None:
    """
    What is not of the protocol is read past.
    """
    found = read(orjson.dumps(plain), is_stream=False)

    assert (found.model, found.text, found.finish_reason, found.error) == (None, None, None, None)
