"""The real ``anthropic`` client against a real server: what it returns is unchanged, and recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anthropic_server import Server, serving
from captured import Captured
from captured_table import record as tell

import mvtrace
from mvtrace.integrations import anthropic as integration
from mvtrace.integrations import client_call, tee
from mvtrace.records import Call, RequestRecord

anthropic = pytest.importorskip("anthropic")

pytestmark = pytest.mark.usefixtures("instrumented")
TOOL = {"name": "look", "input_schema": {"type": "object"}}
ASKED: dict[str, Any] = {
    "model": "claude-m",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "a secret question"}],
    "extra_body": {"temperature": 0.5},
}


@pytest.fixture(scope="module")
def running_server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running_server: Server) -> Server:
    """A server that was asked nothing yet."""
    running_server.asked.clear()
    running_server.failures.clear()
    return running_server


def client_of(server: Server, **settings: Any) -> Any:
    return anthropic.Anthropic(base_url=server.url, api_key="k", **{"max_retries": 0, **settings})


def recorded(captured: Captured, act: Callable[[], object]) -> tuple[RequestRecord, Call]:
    """The record of a request in which *act* is done, and its one call."""
    with mvtrace.request(route="/ask"):
        act()
    [call] = captured.record.calls
    return captured.record, call


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def create(client: Any) -> str:
    return text_of(client.messages.create(**ASKED))


def create_stream(client: Any) -> str:
    events = client.messages.create(**ASKED, stream=True)
    return "".join(getattr(getattr(event, "delta", None), "text", "") for event in events)


def stream_helper(client: Any) -> str:
    with client.messages.stream(**ASKED) as stream:
        return "".join(stream.text_stream)


def stream_final(client: Any) -> str:
    with client.messages.stream(**ASKED) as stream:
        return text_of(stream.get_final_message())


def raw(client: Any) -> str:
    return text_of(client.messages.with_raw_response.create(**ASKED).parse())


def streaming_response(client: Any) -> str:
    with client.messages.with_streaming_response.create(**ASKED) as response:
        return text_of(response.parse())


def beta(client: Any) -> str:
    return text_of(client.beta.messages.create(**ASKED))


@pytest.mark.parametrize(
    "act", [create, create_stream, stream_helper, stream_final, raw, streaming_response, beta]
)
def test_each_way_to_ask(captured: Captured, server: Server, act: Callable[[Any], str]) -> None:
    """
    Whatever way the client is asked, it answers as ever, and one call has what was asked and said.
    """
    texts: list[str] = []
    with client_of(server) as client:
        record, call = recorded(captured, lambda: texts.append(act(client)))

    assert texts == ["Hello"]
    assert len(server.asked) == 1
    assert (call.kind, call.provider) == ("generation", "anthropic-compatible")
    assert call.name.endswith(f"test_anthropic.{act.__name__}")
    assert (call.model_requested, call.model_served) == ("claude-m", "claude-m-2026")
    assert call.sampling == {"max_tokens": 64, "temperature": 0.5}
    assert (call.finish_reason, call.response_id) == ("end_turn", "msg-1")
    assert call.usage is not None
    assert vars(call.usage) == {
        "input_tokens": 11,
        "output_tokens": 3,
        "cache_read_input_tokens": 4,
        "cache_write_input_tokens": 2,
        "reasoning_output_tokens": 1,
    }
    assert call.prompt is not None
    assert call.prompt.rendered_digest is not None
    assert call.output_digest == captured.tracing.keyed_digest("Hello")
    is_stream = act in {create_stream, stream_helper, stream_final}
    assert (call.time_to_first_chunk_ns is not None) == is_stream
    assert b"secret" not in record.to_bytes()
    tell("anthropic", anthropic.__version__, ["messages", "streams"] if is_stream else ["messages"])


def test_asynchronous(captured: Captured, server: Server) -> None:
    """
    The asynchronous client too, streaming or not, several at once.
    """

    async def ask() -> list[str]:
        async with anthropic.AsyncAnthropic(
            base_url=server.url, api_key="k", max_retries=0
        ) as client:

            async def stream() -> str:
                async with client.messages.stream(**ASKED) as pieces:
                    return "".join([piece async for piece in pieces.text_stream])

            whole, streamed = await asyncio.gather(client.messages.create(**ASKED), stream())
            return [text_of(whole), streamed]

    with mvtrace.request(route="/ask"):
        assert asyncio.run(ask()) == ["Hello", "Hello"]

    calls = captured.record.calls
    assert [call.model_served for call in calls] == ["claude-m-2026"] * 2
    assert {call.time_to_first_chunk_ns is None for call in calls} == {True, False}
    tell("anthropic", anthropic.__version__, ["sync and async", "raw responses"])


def test_version_of_what_is_asked(captured: Captured, server: Server) -> None:
    """
    Without a composite, model and tools are parts of an observed version; another tool makes
    another.
    """
    with client_of(server) as client:
        for name in ("look", "look", "find"):
            with mvtrace.request(route="/ask"):
                client.messages.create(**ASKED, tools=[{**TOOL, "name": name}])

    versions = [record.composite_version for record in captured.records]
    assert versions[0] == versions[1] != versions[2]
    assert [drift.kind for drift in captured.records[2].drift] == ["tools"]
    tell("anthropic", anthropic.__version__, ["tools"])


def test_compressed_answer(captured: Captured, server: Server) -> None:
    """
    An answer in gzip, read as a stream of bytes, is read along.
    """
    with client_of(server) as client, mvtrace.request(route="/ask"):
        asked = {**ASKED, "model": "zipped"}
        with client.messages.with_streaming_response.create(**asked) as response:
            assert b"Hello" in b"".join(response.iter_bytes())

    [call] = captured.record.calls
    assert call.output_digest == captured.tracing.keyed_digest("Hello")


def test_retries_are_one_call(captured: Captured, server: Server) -> None:
    """
    The library's retries are one call; its error comes as it is, and is on the call.
    """
    server.failures["claude-m"] = 529
    with client_of(server, max_retries=1) as client:

        def act() -> None:
            with pytest.raises(anthropic.APIStatusError):
                create(client)

        _, call = recorded(captured, act)

    assert len(server.asked) == 2
    assert (call.outcome, call.model_served) == ("error", None)
    assert (call.error_type or "").startswith("anthropic.")


def test_a_stream_that_breaks_off(captured: Captured, server: Server) -> None:
    """
    An error told within a stream is the application's, and on the call, with what came before.
    """
    server.failures["claude-m"] = 200
    with client_of(server) as client:

        def act() -> None:
            with pytest.raises(anthropic.APIStatusError):
                create_stream(client)

        _, call = recorded(captured, act)

    assert (call.outcome, call.error_type) == ("error", "overloaded_error")
    assert call.model_served == "claude-m-2026"
    tell("anthropic", anthropic.__version__, ["errors"])


def test_within_a_wrapper_of_the_applications(captured: Captured, server: Server) -> None:
    """
    A generation that the application wraps itself is one call, which the library tells the rest.
    """

    def act() -> None:
        with mvtrace.generation("answer"):
            create(client)

    with client_of(server) as client:
        _, call = recorded(captured, act)

    assert (call.name, call.model_requested, call.model_served) == (
        "answer", "claude-m", "claude-m-2026",
    )  # fmt: skip


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (integration, "asked_in"),
        (integration, "provider_at"),
        (integration, "Inference"),
        (integration, "ClientCall"),
        (integration.MessagesReader, "_read"),
        (client_call, "read_along"),
        (client_call, "plain_answer"),
        (tee, "_reader_of"),
    ],
)
@pytest.mark.parametrize("act", [create, create_stream])
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    act: Callable[[Any], str],
) -> None:
    """
    Whichever step of ours fails, the client answers as ever, and is asked once.
    """
    monkeypatch.setattr(module, name, boom)
    with client_of(server) as client, mvtrace.request(route="/ask"):
        assert act(client) == "Hello"

    assert len(server.asked) == 1
    assert captured.record.outcome == "ok"


def test_uninstrument(captured: Captured, server: Server) -> None:
    """
    Turned off, nothing is recorded.
    """
    mvtrace.uninstrument()
    with client_of(server) as client, mvtrace.request(route="/ask"):
        assert create(client) == "Hello"

    assert captured.record.calls == ()
