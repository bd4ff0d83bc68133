"""The OpenAI-compatible protocol, read from bytes in any cut."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_wire import FLAT, RESPONSE, RESPONSE_STREAM, STREAM, WHOLE, delta, events

from mvtrace.capture.openai_protocol import (
    CHAT,
    COMPLETION,
    EMBEDDINGS,
    MAX_BODY_BYTES,
    MAX_EVENT_BYTES,
    RESPONSES,
    Answered,
    AnswerReader,
    operation_of,
    read_request,
)


def read(
    operation: str, body: bytes, *, is_stream: bool, cuts: list[int] | None = None
) -> Answered:
    """Feed *body* in pieces."""
    reader = AnswerReader(operation, is_stream=is_stream)
    start = 0
    for cut in sorted(cuts or []):
        reader.feed(body[start:cut])
        start = max(start, cut)
    reader.feed(body[start:])
    return reader.end()


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_stream_reads_the_same_in_any_cut(cuts: list[int]) -> None:
    """
    However the network cuts a stream, the same is read.
    """
    found = read(CHAT, STREAM, is_stream=True, cuts=cuts)

    assert (found.model, found.id, found.fingerprint) == ("m-2024", "c-1", "fp")
    assert (found.text, found.finish_reason, found.usage) == ("Hello", "stop", FLAT)
    assert not found.is_cut


def test_stream_and_json_say_the_same() -> None:
    """
    An answer is the same whether it is streamed or not, also where lines end in CRLF.
    """
    whole = read(CHAT, WHOLE, is_stream=False, cuts=[5, 9])
    streamed = read(CHAT, STREAM.replace(b"\n", b"\r\n"), is_stream=True)

    assert (whole.text, whole.usage, whole.finish_reason) == ("Hello", FLAT, "stop")
    assert (streamed.text, streamed.usage, streamed.id) == (whole.text, whole.usage, whole.id)


@pytest.mark.parametrize(
    ("body", "is_stream"), [(orjson.dumps(RESPONSE), False), (RESPONSE_STREAM, True)]
)
def test_responses(body: bytes, is_stream: bool) -> None:
    """
    The responses endpoint is read in both forms.
    """
    found = read(RESPONSES, body, is_stream=is_stream)

    assert (found.text, found.model, found.id) == ("Hello", "m-2024", "r-1")
    assert found.finish_reason == "completed"
    assert found.usage == {"input_tokens": 9, "output_tokens": 3, "cached_tokens": 4}


@given(body=st.binary(max_size=400), is_stream=st.booleans())
def test_any_bytes_are_survived(body: bytes, is_stream: bool) -> None:
    """
    Bytes that are nothing of the protocol say nothing, and raise nothing.
    """
    for operation in (CHAT, COMPLETION, RESPONSES, EMBEDDINGS):
        read(operation, body, is_stream=is_stream)
        read_request(operation, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["id", "model", "choices", "usage", "delta", "message", "content", "type", "response",
             "output", "text", "finish_reason", "incomplete_details", "tools", "seed", "stream"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@given(plain=JSON)
def test_any_json_is_survived(plain: Any) -> None:
    """
    JSON with the protocol's words in wrong places raises nothing.
    """
    body = orjson.dumps(plain)
    for operation in (CHAT, COMPLETION, RESPONSES, EMBEDDINGS):
        read(operation, body, is_stream=False)
        read(operation, b"data: " + body + b"\n\n", is_stream=True)
        read_request(operation, body)


def test_what_is_too_long_is_said_and_not_held() -> None:
    """
    An event or a body beyond the limit is cut, what follows is read, and nothing grows.
    """
    reader = AnswerReader(CHAT, is_stream=True)
    for _ in range(40):
        reader.feed(b"data: " + b"x" * (MAX_EVENT_BYTES // 10))
    assert len(reader._pending) <= MAX_EVENT_BYTES
    reader.feed(b"\n\n" + events(delta("Hello", "stop")))
    found = reader.end()
    assert (found.is_cut, found.text) == (True, "Hello")

    whole = AnswerReader(CHAT, is_stream=False)
    for _ in range(20):
        whole.feed(b" " * (MAX_BODY_BYTES // 10))
    assert len(whole._pending) <= MAX_BODY_BYTES
    assert whole.end() == Answered(is_cut=True)


def test_request() -> None:
    """
    Model, parameters, seed, tools and the caller's text are told apart.
    """
    tools = [{"type": "function", "function": {"name": "clock"}}]
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0,
        "max_tokens": 5,
        "seed": 7,
        "tools": tools,
        "stream": True,
        "user": "somebody",
    }

    asked = read_request(CHAT, orjson.dumps(body))

    assert asked is not None
    assert (asked.model, asked.seed, asked.is_stream) == ("m", 7, True)
    assert asked.parameters == {"temperature": 0, "max_tokens": 5}
    assert (list(asked.tools), asked.content) == (tools, body["messages"])


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/completions", COMPLETION),
        ("/openai/v1/responses/", RESPONSES),
        ("/embeddings", EMBEDDINGS),
        ("/v1/models", None),
        ("/v1/chat/completions/abc", None),
        ("", None),
    ],
)
def test_paths(path: str, operation: str | None) -> None:
    """
    The end of a path says what is asked for.
    """
    assert operation_of(path) == operation
