"""What vLLM and its like add to the OpenAI-compatible protocol: read past, or read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from captured import Captured
from openai_wire import events
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

import mvtrace
from mvtrace.capture.openai_protocol import CHAT, EMBEDDINGS, Answered, AnswerReader, read_request
from mvtrace.records import Usage

USAGE = {
    "prompt_tokens": 9,
    "total_tokens": 12,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
COMMON: dict[str, Any] = {
    "id": "chatcmpl-1",
    "created": 1,
    "model": "org/served-model",
    "system_fingerprint": "vllm-0.15-tp2",
    "service_tier": None,
}
WHOLE = {
    **COMMON,
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello",
                "reasoning_content": "a secret thought",
                "reasoning": "a secret thought",
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "tool_calls": [],
            },
            "logprobs": {"content": [{"token": "Hello", "logprob": -0.1, "top_logprobs": []}]},
            "finish_reason": "stop",
            "stop_reason": 128009,
            "token_ids": [9906],
        }
    ],
    "usage": USAGE,
    "prompt_logprobs": [None, {"1": {"logprob": -1.5, "rank": 1, "decoded_token": "a secret"}}],
    "prompt_token_ids": [1, 2, 3],
    "kv_transfer_params": {"do_remote_decode": True, "remote_block_ids": [[1, 2]]},
}


def piece(
    delta: dict[str, Any], usage: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A chunk; with *usage*, as servers send it that were asked for continuous counts."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **more}
    chunk = {**COMMON, "object": "chat.completion.chunk", "choices": [choice]}
    return chunk if usage is None else {**chunk, "usage": usage}


STREAM = events(
    piece({"role": "assistant", "content": ""}, {**USAGE, "completion_tokens": 0}, token_ids=None),
    piece({"reasoning_content": "a secret thought"}, {**USAGE, "completion_tokens": 1}),
    piece({"content": "Hel"}, {**USAGE, "completion_tokens": 2}),
    piece({"content": "lo"}),
    piece({}, finish_reason="stop", stop_reason="###"),
    {**COMMON, "object": "chat.completion.chunk", "choices": [], "usage": USAGE},
)
CALLING = events(
    piece({"role": "assistant", "content": None}),
    piece({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "look"}}]}),
    piece({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
    piece({}, finish_reason="tool_calls"),
)


def read(body: bytes, *, is_stream: bool = True, cut: int = 1 << 20) -> tuple[Answered, int]:
    """What is read of *body* in pieces of *cut* bytes, and how many chunks were counted."""
    reader = AnswerReader(CHAT, is_stream=is_stream)
    for start in range(0, len(body), cut):
        reader.feed(body[start : start + cut])
    return reader.end(), reader.chunks


@pytest.mark.parametrize("cut", [1, 7, 1 << 20])
@pytest.mark.parametrize("is_stream", [False, True])
def test_whole_answer_is_read(is_stream: bool, cut: int) -> None:
    """
    The answer is its text, without its reasoning; counts are the last ones, nested ones too.
    """
    body = STREAM if is_stream else orjson.dumps(WHOLE)
    found, _ = read(body, is_stream=is_stream, cut=cut)

    assert (found.model, found.id) == ("org/served-model", "chatcmpl-1")
    assert (found.fingerprint, found.finish_reason) == ("vllm-0.15-tp2", "stop")
    assert found.text == "Hello"
    assert {key: found.usage[key] for key in ("prompt_tokens", "completion_tokens")} == {
        "prompt_tokens": 9, "completion_tokens": 3,
    }  # fmt: skip
    assert (found.usage["cached_tokens"], found.usage["reasoning_tokens"]) == (4, 1)
    assert (found.error, found.is_cut) == (None, False)


def test_a_stream_begins_with_its_reasoning() -> None:
    """
    Reasoning and calls of tools are pieces of a stream: the first of them is its first chunk.
    """
    assert read(STREAM)[1] == 3
    found, chunks = read(CALLING)
    assert (found.text, found.finish_reason, chunks) == (None, "tool_calls", 2)


def test_error_within_a_stream() -> None:
    """
    An error told in a stream that began is known by its kind; its words are not kept.
    """
    error = {"error": {"message": "a secret", "type": "InternalServerError", "code": 500}}
    found, _ = read(events(piece({"content": "Hel"}), error))

    assert (found.error, found.text) == ("InternalServerError", "Hel")


def test_what_only_such_servers_can_be_asked() -> None:
    """
    Parameters beyond OpenAI's that decide how is sampled are read.
    """
    parameters = {
        "min_p": 0.1,
        "top_k": 20,
        "repetition_penalty": 1.1,
        "length_penalty": 1.0,
        "min_tokens": 2,
        "stop_token_ids": [7],
        "ignore_eos": True,
        "use_beam_search": True,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    asked = read_request(CHAT, orjson.dumps({"model": "m", "seed": 7, **parameters}))

    assert asked is not None
    assert (asked.parameters, asked.seed) == (parameters, 7)


@pytest.mark.parametrize("vector", [[0.5, 0.25, 0.125], "AAAAPwAAgD4AAAA+"])
def test_shape_of_vectors(vector: object) -> None:
    """
    An embedding tells how many vectors of which dimension there were, in either form.
    """
    reader = AnswerReader(EMBEDDINGS, is_stream=False)
    reader.take({"model": "e-1", "data": [{"embedding": vector}, {"embedding": vector}]})

    assert (reader.answered.vectors, reader.answered.dimension) == (2, 3)


async def answer(request: Request) -> Response:
    """Answer as vLLM does."""
    if (await request.json()).get("stream"):
        return Response(STREAM, media_type="text/event-stream")
    return Response(orjson.dumps(WHOLE), media_type="application/json")


@pytest.mark.parametrize("is_stream", [False, True])
def test_behind_the_middleware(captured: Captured, is_stream: bool) -> None:
    """
    A server that answers so, behind the middleware: full evidence, and no word of it.
    """
    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    client = TestClient(mvtrace.TraceMiddleware(app, protocol="openai"))
    client.post("/v1/chat/completions", json={"model": "m", "seed": 7, "stream": is_stream})

    [call] = captured.record.calls
    assert (call.model_requested, call.model_served) == ("m", "org/served-model")
    assert (call.fingerprint, call.finish_reason) == ("vllm-0.15-tp2", "stop")
    assert call.output_digest == captured.tracing.keyed_digest("Hello")
    assert call.usage == Usage(
        input_tokens=9, output_tokens=3, cache_read_input_tokens=4, reasoning_output_tokens=1
    )
    assert b"secret" not in captured.record.to_bytes()
