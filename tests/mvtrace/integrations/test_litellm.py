"""The real LiteLLM against a real server: its functions, and every decision of its Router."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

import pytest
from captured import Captured
from captured_table import record as tell
from openai_server import Server

import mvtrace
from mvtrace.integrations import litellm as integration
from mvtrace.records import RequestRecord

litellm = pytest.importorskip("litellm")

pytestmark = [
    pytest.mark.litellm,
    pytest.mark.usefixtures("instrumented"),
    # LiteLLM's own: loggers left running, and what it does with pydantic.
    pytest.mark.filterwarnings("ignore"),
]
MESSAGES = [{"role": "user", "content": "a secret question"}]


def router_of(server: Server, *models: str, **more: Any) -> Any:
    """A router of one group ``answers`` with a deployment a model, asked in that order."""
    deployments = [
        {
            "model_name": "answers",
            "litellm_params": {
                "model": f"openai/{model}", "api_base": f"{server.url}/v1", "api_key": "sk-secret",
                "order": number, "max_retries": 0,
            },
        }
        for number, model in enumerate(models, 1)
    ]  # fmt: skip
    settings = {"num_retries": 2, "retry_after": 0, "allowed_fails": 0, "cooldown_time": 60, **more}
    return litellm.Router(model_list=deployments, **settings)


def ask(router: Any, *, is_async: bool) -> str:
    if is_async:
        reply = asyncio.run(router.acompletion(model="answers", messages=MESSAGES, seed=7))
    else:
        reply = router.completion(model="answers", messages=MESSAGES, seed=7)
    return str(reply.choices[0].message.content)


def recorded(captured: Captured, router: Any, *, is_async: bool) -> RequestRecord:
    before = len(captured.records)
    with mvtrace.request(route="/ask"):
        assert ask(router, is_async=is_async) == "Hello"
    return captured.records[before]


@pytest.mark.parametrize("is_async", [False, True])
def test_three_deployments_and_a_failing_first(
    captured: Captured, provider_server: Server, is_async: bool
) -> None:
    """
    The decision lists all three, the failure with its reason and cooldown, and who answered; the
    next request finds the first one resting.
    """
    provider_server.failures["a"] = 429
    router = router_of(provider_server, "a", "b", "c")

    first = recorded(captured, router, is_async=is_async)
    [decision] = first.router_decisions
    reasons = {one.name: one.reason or "" for one in decision.candidates}

    assert (decision.name, decision.chosen) == ("answers", "openai/b")
    assert set(reasons) == {"openai/a", "openai/b", "openai/c"}
    assert reasons["openai/a"].startswith("failed: RateLimitError 429; now in cooldown: 429 for 60")
    assert (reasons["openai/b"], reasons["openai/c"]) == ("answered", "not tried")
    assert decision.fallbacks == ("openai/a",)
    attempts = [call for call in first.calls if call.kind == "generation"]
    assert [(call.outcome, call.model_served) for call in attempts] == [
        ("error", None), ("ok", "m-2024"),
    ]  # fmt: skip
    assert b"secret" not in first.to_bytes()

    second = recorded(captured, router, is_async=is_async)
    [decision] = second.router_decisions
    assert {one.name: one.reason for one in decision.candidates}["openai/a"].startswith(
        "in cooldown"
    )
    assert second.composite_version is not None
    tell(
        "litellm",
        version("litellm"),
        ["its Router: decisions, candidates, fallbacks, cooldowns", "model asked and served"],
    )


def test_fallback_to_another_group(captured: Captured, provider_server: Server) -> None:
    """
    A fallback to another group is one decision, with the deployment that failed and the one that
    answered.
    """
    provider_server.failures["a"] = 500
    router = router_of(provider_server, "a", num_retries=0, fallbacks=[{"answers": ["spare"]}])
    params = {"model": "openai/z", "api_base": f"{provider_server.url}/v1", "api_key": "k"}
    router.add_deployment(
        litellm.types.router.Deployment(model_name="spare", litellm_params=params)
    )

    record = recorded(captured, router, is_async=True)

    [decision] = record.router_decisions
    assert (decision.chosen, decision.fallbacks) == ("openai/z", ("openai/a",))
    assert [one.name for one in decision.candidates] == ["openai/a", "openai/z"]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_functions_are_counted_once(
    captured: Captured, provider_server: Server, is_stream: bool, is_async: bool
) -> None:
    """
    A call of LiteLLM is one call, although it uses ``openai`` beneath, which is observed too.
    """
    asked = {
        "model": "openai/m", "messages": MESSAGES, "temperature": 0.5, "max_retries": 0,
        "api_base": f"{provider_server.url}/v1", "api_key": "k", "stream": is_stream,
    }  # fmt: skip

    async def ask_async() -> str:
        reply = await litellm.acompletion(**asked)
        if not is_stream:
            return str(reply.choices[0].message.content)
        return "".join([piece.choices[0].delta.content or "" async for piece in reply])

    def ask_sync() -> str:
        reply = litellm.completion(**asked)
        if not is_stream:
            return str(reply.choices[0].message.content)
        return "".join(piece.choices[0].delta.content or "" for piece in reply)

    with mvtrace.request(route="/ask"):
        assert (asyncio.run(ask_async()) if is_async else ask_sync()) == "Hello"

    assert len(provider_server.asked) == 1
    [call] = captured.record.calls
    assert (call.kind, call.provider, call.model_requested) == ("generation", "openai", "openai/m")
    assert call.finish_reason == "stop"
    assert call.output_digest == captured.tracing.keyed_digest("Hello")
    assert (call.time_to_first_chunk_ns is not None) == is_stream


def test_stream_of_a_router(captured: Captured, provider_server: Server) -> None:
    """
    A stream through a Router is one decision and one generation, ended when the stream is.
    """
    router = router_of(provider_server, "a", "b")

    async def ask_stream() -> str:
        reply = await router.acompletion(model="answers", messages=MESSAGES, stream=True)
        return "".join([piece.choices[0].delta.content or "" async for piece in reply])

    with mvtrace.request(route="/ask"):
        assert asyncio.run(ask_stream()) == "Hello"

    record = captured.record
    assert [one.chosen for one in record.router_decisions] == ["openai/a"]
    [call] = [call for call in record.calls if call.kind == "generation"]
    assert (call.finish_reason, call.outcome) == ("stop", "ok")
    assert call.time_to_first_chunk_ns is not None


def test_embedding(captured: Captured, provider_server: Server) -> None:
    """
    An embedding too.
    """
    with mvtrace.request(route="/ask"):
        litellm.embedding(
            model="openai/e", input=["Hi"], api_base=f"{provider_server.url}/v1", api_key="k"
        )

    [call] = captured.record.calls
    assert (call.kind, call.model_requested) == ("embedding", "openai/e")
    assert (call.vectors, call.dimension) == (1, 2)


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize(
    "name",
    [
        "_deployments",
        "_cooldowns",
        "_policy",
        "_names",
        "plain_answer",
        "kind_of",
        "inference_of",
        "routing",
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured,
    provider_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    is_async: bool,
) -> None:
    """
    Whichever step of ours fails, the Router answers as ever, with as many attempts.
    """
    provider_server.failures["a"] = 429
    router = router_of(provider_server, "a", "b")
    monkeypatch.setattr(integration, name, boom)

    with mvtrace.request(route="/ask"):
        assert ask(router, is_async=is_async) == "Hello"

    assert [one["model"] for one in provider_server.asked] == ["a", "b"]
    assert captured.record.outcome == "ok"


def test_uninstrument(captured: Captured, provider_server: Server) -> None:
    """
    Turned off, nothing is recorded.
    """
    mvtrace.uninstrument()
    with mvtrace.request(route="/ask"):
        assert ask(router_of(provider_server, "a"), is_async=True) == "Hello"

    assert captured.record.calls == ()
