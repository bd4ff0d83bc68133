"""LangChain's fallbacks against a real server: one decision, with who failed and why."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

import pytest
from captured import Captured
from captured_table import record as tell
from openai_server import Server

import mvtrace
from mvtrace.integrations import langchain_fallbacks as integration

pytest.importorskip("langchain_core")
langchain_openai = pytest.importorskip("langchain_openai")

from langchain_core.prompts import ChatPromptTemplate  # noqa: E402

pytestmark = pytest.mark.usefixtures("instrumented")
TEMPLATE = ChatPromptTemplate([("human", "{question}")])


def model_of(server: Server, name: str) -> Any:
    return langchain_openai.ChatOpenAI(
        model=name, base_url=f"{server.url}/v1", api_key="k", max_retries=0,
        default_headers={"Connection": "close"},
    )  # fmt: skip


def ask(chain: Any, *, is_async: bool = False) -> str:
    asked = {"question": "a secret question"}
    return str((asyncio.run(chain.ainvoke(asked)) if is_async else chain.invoke(asked)).content)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("is_of_chains", [False, True])
def test_three_models_and_a_failing_first(
    captured: Captured, provider_server: Server, is_async: bool, is_of_chains: bool
) -> None:
    """
    The decision lists all three in their order, the failure with its kind and status, who answered
    and who was not tried, be they models or chains; each attempt is a call.
    """
    provider_server.failures["a"] = 429
    models = [model_of(provider_server, name) for name in ("a", "b", "c")]
    if is_of_chains:
        first, *others = (TEMPLATE | model for model in models)
        chain = first.with_fallbacks(others)
    else:
        chain = TEMPLATE | models[0].with_fallbacks(models[1:])
    with mvtrace.request(route="/ask"):
        assert ask(chain, is_async=is_async) == "Hello"

    record = captured.record
    [decision] = record.router_decisions
    assert (decision.chosen, decision.fallbacks) == ("b", ("a",))
    reasons = {one.name: one.reason or "" for one in decision.candidates}
    assert list(reasons) == ["a", "b", "c"]
    assert reasons["a"].startswith("failed: ")
    assert reasons["a"].endswith(" 429")
    assert (reasons["b"], reasons["c"]) == ("answered", "not tried")
    assert (decision.policy or {})["order"] == ["a", "b", "c"]
    attempts = [call for call in record.calls if call.kind == "generation"]
    assert [(call.outcome, call.model_requested) for call in attempts] == [
        ("error", "a"), ("ok", "b"),
    ]  # fmt: skip
    assert b"secret" not in record.to_bytes()
    tell("langchain-core", version("langchain-core"), ["fallbacks and why they failed"])


def test_nobody_answers(captured: Captured, provider_server: Server) -> None:
    """
    Where all fail the first error comes as ever, and the decision says why each did.
    """
    provider_server.failures.update(a=429, b=500)
    models = [model_of(provider_server, name) for name in ("a", "b")]
    with (
        mvtrace.request(route="/ask"),
        pytest.raises(langchain_openai.chat_models.base.openai.RateLimitError),
    ):
        ask(TEMPLATE | models[0].with_fallbacks(models[1:]))

    [decision] = captured.record.router_decisions
    assert (decision.chosen, decision.fallbacks) == (None, ("a", "b"))


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize("name", ["routing", "_model_of", "_named", "kind_of", "tried", "failed"])
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured, provider_server: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """
    Whichever step of ours fails, the same models are asked and the answer is the same.
    """
    provider_server.failures["a"] = 429
    models = [model_of(provider_server, one) for one in ("a", "b")]
    monkeypatch.setattr(integration, name, boom)
    with mvtrace.request(route="/ask"):
        assert ask(TEMPLATE | models[0].with_fallbacks(models[1:])) == "Hello"

    assert [one["model"] for one in provider_server.asked] == ["a", "b"]
