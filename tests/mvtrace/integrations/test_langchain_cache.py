"""LangChain's own cache: a hit names the request that made the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from captured import Captured
from captured_table import record as tell
from openai_server import Server

import mvtrace

pytest.importorskip("langchain_core")
langchain_openai = pytest.importorskip("langchain_openai")

from langchain_core.caches import InMemoryCache  # noqa: E402
from langchain_core.globals import set_llm_cache  # noqa: E402

pytestmark = pytest.mark.usefixtures("instrumented", "cache")


@pytest.fixture
def cache() -> Iterator[None]:
    """For the length of a test."""
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


def ask(model: Any, how: str) -> str:
    async def ask_async() -> str:
        return str((await model.ainvoke("why?")).content)

    if how == "async":
        return asyncio.run(ask_async())
    return str(model.invoke("why?").content)


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_hit_names_who_made_it(captured: Captured, provider_server: Server, how: str) -> None:
    """
    The second request gets the first one's answer, and its call names that request; it is the same
    version, and the answer is claimed by no model.
    """
    model = langchain_openai.ChatOpenAI(
        model="m", base_url=f"{provider_server.url}/v1", api_key="k", max_retries=0,
        default_headers={"Connection": "close"},
    )  # fmt: skip
    provider_server.has_own_ids = True
    for _ in range(2):
        with mvtrace.request(route="/ask"):
            assert ask(model, how) == "Hello"
    provider_server.has_own_ids = False

    first, second = captured.records
    assert len(provider_server.asked) == 1
    [made], [hit] = first.calls, second.calls
    assert (made.cache_origin, hit.cache_origin) == (None, first.request_id)
    assert made.output_digest == hit.output_digest is not None
    assert (hit.model_served, hit.response_id, hit.usage) == (None, None, None)
    assert first.composite_version == second.composite_version
    tell("langchain-core", version("langchain-core"), ["answers from its cache"])
