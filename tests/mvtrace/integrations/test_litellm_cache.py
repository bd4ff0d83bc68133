"""LiteLLM's own cache, against a real server: a hit names the request that made the answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from captured import Captured
from captured_table import record as tell
from openai_server import Server

import mvtrace
from mvtrace.capture.answer_cache import RESPONSES
from mvtrace.records import RequestRecord

litellm = pytest.importorskip("litellm")

pytestmark = [
    pytest.mark.litellm,
    pytest.mark.usefixtures("instrumented", "cache"),
    pytest.mark.filterwarnings("ignore"),  # LiteLLM's own
]


@pytest.fixture
def cache(provider_server: Server) -> Iterator[None]:
    """For the length of a test: LiteLLM keeps answers in memory, and every answer has an id."""
    from litellm.caching.caching import Cache

    litellm.cache = Cache(type="local")
    provider_server.has_own_ids = True
    yield
    provider_server.has_own_ids = False
    litellm.cache = None
    with contextlib.suppress(RuntimeError):  # there is none
        asyncio.get_event_loop().close()  # LiteLLM leaves one behind where it is asked without
    asyncio.set_event_loop(None)


def asked(server: Server, *, is_stream: bool) -> dict[str, Any]:
    return {
        "model": "openai/m", "messages": [{"role": "user", "content": "x"}], "caching": True,
        "api_base": f"{server.url}/v1", "api_key": "k", "stream": is_stream,
    }  # fmt: skip


def ask(server: Server, *, is_stream: bool, is_async: bool) -> str:
    async def ask_async() -> str:
        reply = await litellm.acompletion(**asked(server, is_stream=is_stream))
        if is_stream:
            text = "".join([piece.choices[0].delta.content or "" async for piece in reply])
        else:
            text = str(reply.choices[0].message.content)
        for _ in range(3000):  # it is kept in a task of its own
            if litellm.cache.cache.cache_dict:
                break
            await asyncio.sleep(0.01)
        return text

    if is_async:
        return asyncio.run(ask_async())
    reply = litellm.completion(**asked(server, is_stream=is_stream))
    if is_stream:
        return "".join(piece.choices[0].delta.content or "" for piece in reply)
    return str(reply.choices[0].message.content)


def recorded(captured: Captured, server: Server, **how: Any) -> RequestRecord:
    with mvtrace.request(route="/ask"):
        assert ask(server, **how) == "Hello"
    return captured.records[-1]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_hit_names_who_made_it(
    captured: Captured, provider_server: Server, is_stream: bool, is_async: bool
) -> None:
    """
    The second request gets the first one's answer: its call names that request, has the same text,
    and claims no model that served, no tokens and no response of its own.
    """
    how = {"is_stream": is_stream, "is_async": is_async}
    first = recorded(captured, provider_server, **how)
    second = recorded(captured, provider_server, **how)

    assert len(provider_server.asked) == 1
    [made], [hit] = first.calls, second.calls
    assert (made.cache_origin, hit.cache_origin) == (None, first.request_id)
    assert made.output_digest == hit.output_digest is not None
    assert (hit.model_requested, hit.model_served, hit.usage) == ("openai/m", None, None)
    assert (made.response_id is None, hit.response_id) == (False, None)
    assert first.composite_version == second.composite_version
    assert second.drift == ()
    tell("litellm", version("litellm"), ["answers from its cache, with who made them"])


def test_a_hit_from_another_process(captured: Captured, provider_server: Server) -> None:
    """
    Where another process made the answer, the call names the provider's response, by which readers
    find the request.
    """
    how = {"is_stream": False, "is_async": False}
    first = recorded(captured, provider_server, **how)
    RESPONSES._requests.clear()
    second = recorded(captured, provider_server, **how)

    assert second.calls[0].cache_origin == f"response_id:{first.calls[0].response_id}"


def test_an_embedding_from_the_cache(captured: Captured, provider_server: Server) -> None:
    """
    An embedding from the cache is told as such, although it has no id to be followed by.
    """
    for _ in range(2):
        with mvtrace.request(route="/ask"):
            litellm.embedding(
                model="openai/e", input=["Hi"], caching=True,
                api_base=f"{provider_server.url}/v1", api_key="k",
            )  # fmt: skip

    assert len(provider_server.asked) == 1
    assert [one.calls[0].cache_origin for one in captured.records] == [None, "unknown"]
