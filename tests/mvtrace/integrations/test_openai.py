"""The real ``openai`` client against a real server: what it returns is unchanged, and recorded."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from captured import Captured
from captured_table import record as tell
from openai_server import Server

import mvtrace
from mvtrace.integrations import client_call
from mvtrace.integrations import inference as inference_module
from mvtrace.integrations import openai as integration
from mvtrace.integrations.inference import Inference
from mvtrace.integrations.instrument import _hooks
from mvtrace.records import Call, RequestRecord

openai = pytest.importorskip("openai")

pytestmark = pytest.mark.usefixtures("instrumented")
ASKED: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "a secret question"}],
    "temperature": 0.5,
    "seed": 7,
}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def client_of(server: Server) -> Any:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)


def recorded(captured: Captured, act: Callable[[], object]) -> tuple[RequestRecord, Call]:
    """The record of a request in which *act* is done, and its one call."""
    with mvtrace.request(route="/ask"):
        act()
    [call] = captured.record.calls
    return captured.record, call


def chat(client: Any) -> str:
    return str(client.chat.completions.create(**ASKED).choices[0].message.content)


def chat_stream(client: Any) -> str:
    pieces = client.chat.completions.create(**ASKED, stream=True)
    return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)


def chat_raw(client: Any) -> str:
    raw = client.chat.completions.with_raw_response.create(**ASKED)
    return str(raw.parse().choices[0].message.content)


def chat_streaming_response(client: Any) -> str:
    with client.chat.completions.with_streaming_response.create(**ASKED) as raw:
        return str(raw.parse().choices[0].message.content)


def responses(client: Any) -> str:
    return str(client.responses.create(model="m", input="Hi", temperature=0.5).output_text)


def responses_stream(client: Any) -> str:
    events = client.responses.create(model="m", input="Hi", temperature=0.5, stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


@pytest.mark.parametrize(
    "act",
    [chat, chat_stream, chat_raw, chat_streaming_response, responses, responses_stream],
)
def test_each_way_to_ask(
    captured: Captured, provider_server: Server, act: Callable[[Any], str]
) -> None:
    """
    Whatever way the client is asked, it answers as ever, and one call has what was asked and said.
    """
    texts: list[str] = []
    with client_of(provider_server) as client:
        record, call = recorded(captured, lambda: texts.append(act(client)))

    assert texts == ["Hello"]
    assert len(provider_server.asked) == 1
    assert (call.kind, call.provider) == ("generation", "openai-compatible")
    assert call.name.endswith(f"test_openai.{act.__name__}")
    assert (call.model_requested, call.model_served) == ("m", "m-2024")
    assert (call.sampling or {})["temperature"] == 0.5
    assert call.finish_reason in {"stop", "completed"}
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens) == (9, 3)
    assert call.output_digest == captured.tracing.keyed_digest("Hello")
    assert (call.time_to_first_chunk_ns is not None) == ("stream" in act.__name__.split("_")[1:2])
    assert b"secret" not in record.to_bytes()
    tell(
        "openai",
        version("openai"),
        ["model asked and served", "sampling and seed", "tokens", "finish reason", "streams"],
    )


def test_asynchronous(captured: Captured, provider_server: Server) -> None:
    """
    The asynchronous client too, streaming or not, several at once.
    """

    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(
            base_url=f"{provider_server.url}/v1", api_key="k", max_retries=0
        ) as client:

            async def stream() -> str:
                found = ""
                async for piece in await client.chat.completions.create(**ASKED, stream=True):
                    found += (piece.choices[0].delta.content or "") if piece.choices else ""
                return found

            whole, streamed = await asyncio.gather(
                client.chat.completions.create(**ASKED), stream()
            )
            return [whole.choices[0].message.content, streamed]

    with mvtrace.request(route="/ask"):
        assert asyncio.run(ask()) == ["Hello", "Hello"]

    calls = captured.record.calls
    assert [call.model_served for call in calls] == ["m-2024", "m-2024"]
    assert {call.time_to_first_chunk_ns is None for call in calls} == {True, False}


def test_embeddings(captured: Captured, provider_server: Server) -> None:
    """
    An embedding is a call of its own kind, without the vectors.
    """
    found: list[Any] = []
    with client_of(provider_server) as client:
        _, call = recorded(
            captured, lambda: found.append(client.embeddings.create(model="e", input=["Hi"]))
        )

    assert found[0].data[0].embedding == [0.5, 0.25]
    assert (call.kind, call.model_requested, call.model_served) == ("embedding", "e", "e-1")
    assert (call.vectors, call.dimension) == (1, 2)
    assert call.input_digest is not None
    tell("openai", version("openai"), ["embeddings"])


def test_version_of_what_is_asked(captured: Captured, provider_server: Server) -> None:
    """
    Without a composite, model and tools are parts of an observed version; another tool makes
    another.
    """
    with client_of(provider_server) as client:
        for name in ("look", "look", "find"):
            tool = {**TOOL, "function": {**TOOL["function"], "name": name}}  # type: ignore[dict-item]
            with mvtrace.request(route="/ask"):
                client.chat.completions.create(**ASKED, tools=[tool])

    versions = [record.composite_version for record in captured.records]
    assert versions[0] == versions[1] != versions[2]
    assert [drift.kind for drift in captured.records[2].drift] == ["tools"]
    tell("openai", version("openai"), ["tool definitions", "what changed"])


def test_errors_pass(captured: Captured, provider_server: Server) -> None:
    """
    The library's error comes as it is, and is on the call.
    """
    provider_server.failures["m"] = 429
    with client_of(provider_server) as client:

        def act() -> None:
            with pytest.raises(openai.RateLimitError):
                chat(client)

        _, call = recorded(captured, act)

    assert (call.outcome, call.error_type) == ("error", "openai.RateLimitError")


def test_within_a_wrapper_of_the_applications(captured: Captured, provider_server: Server) -> None:
    """
    A generation that the application wraps itself is one call, which the library tells the rest.
    """

    def act() -> None:
        with mvtrace.generation("answer"):
            chat(client)

    with client_of(provider_server) as client:
        _, call = recorded(captured, act)

    assert (call.name, call.model_requested, call.model_served) == ("answer", "m", "m-2024")
    assert (call.seed, call.finish_reason) == (7, "stop")


@pytest.mark.parametrize("leave", ["closed", "dropped"])
def test_a_stream_that_is_left(captured: Captured, provider_server: Server, leave: str) -> None:
    """
    A stream that nobody reads to its end is a call all the same.
    """

    def act() -> None:
        stream = client.chat.completions.create(**ASKED, stream=True)
        next(stream)
        if leave == "closed":
            stream.close()
        else:
            stream.response.close()
        del stream
        gc.collect()

    with client_of(provider_server) as client:
        _, call = recorded(captured, act)

    assert (call.model_served, call.outcome) == ("m-2024", "ok")


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (inference_module, "asked_in"),
        (inference_module, "call_site"),
        (inference_module, "_give_content"),
        (integration, "provider_at"),
        (client_call, "plain_answer"),
        (client_call, "read_along"),
        (inference_module.AnswerReader, "take"),
        (inference_module.AnswerReader, "feed"),
        (inference_module.AnswerReader, "end"),
        (inference_module.GenerationCall, "response"),
    ],
)
@pytest.mark.parametrize("act", [chat, chat_stream, responses])
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured,
    provider_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    act: Callable[[Any], str],
) -> None:
    """
    Whichever step of ours fails, the client answers as ever and was called once.
    """
    monkeypatch.setattr(owner, name, boom)
    with client_of(provider_server) as client, mvtrace.request(route="/ask"):
        assert act(client) == "Hello"

    assert len(provider_server.asked) == 1
    assert captured.record.outcome == "ok"


def test_uninstrument(captured: Captured, provider_server: Server) -> None:
    """
    Turned off, the classes are as they were and nothing is recorded; turned on twice, once.
    """
    assert mvtrace.instrument("openai") == mvtrace.instrument("openai") == ("openai",)
    assert "request" in vars(openai.OpenAI)
    assert len(_hooks["openai"]) == 2
    mvtrace.uninstrument()
    assert "request" not in vars(openai.OpenAI)
    assert "request" not in vars(openai.AsyncOpenAI)
    with client_of(provider_server) as client, mvtrace.request(route="/ask"):
        assert chat(client) == "Hello"

    assert captured.record.calls == ()


def test_client_that_was_made_before(captured: Captured, provider_server: Server) -> None:
    """
    A client and its resources from before are observed too.
    """
    mvtrace.uninstrument()
    with client_of(provider_server) as client:
        assert chat(client) == "Hello"
        mvtrace.instrument()
        _, call = recorded(captured, lambda: chat(client))

    assert call.model_served == "m-2024"


def test_unknown_library() -> None:
    """
    A library that cannot be observed is refused.
    """
    with pytest.raises(mvtrace.MvtraceError, match="known are"):
        mvtrace.instrument("opnai")


def test_nothing_is_imported_for_it() -> None:
    """
    Until the application imports a library, it is not imported; then it is observed.
    """
    program = """
import sys, mvtrace
assert mvtrace.instrument("openai") and "openai" not in sys.modules
import openai
assert "request" in vars(openai.OpenAI)
assert not [one for one in sys.meta_path if "mvtrace" in type(one).__module__]
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_inference_is_ended_once(captured: Captured) -> None:
    """
    An answer that is told twice is one call.
    """
    with mvtrace.request(route="/ask"):
        asked = inference_module.asked_in("chat", {"model": "m"})
        one = Inference(asked, "p")
        one.told({"model": "m-1"})
        one.told({"model": "m-2"})
        one.failed(RuntimeError())

    [call] = captured.record.calls
    assert (call.model_served, call.outcome) == ("m-1", "ok")
