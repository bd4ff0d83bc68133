"""The real ``semantic-router``: what it chooses is unchanged, and the decision is recorded whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from captured import Captured
from captured_table import record as tell

import mvtrace
from mvtrace.integrations import semantic_router as integration
from mvtrace.records import RouterDecision

semantic_router = pytest.importorskip("semantic_router")

from semantic_router import Route  # noqa: E402
from semantic_router.encoders import DenseEncoder  # noqa: E402
from semantic_router.routers import Chain, IndexedRouter  # noqa: E402

pytestmark = [
    pytest.mark.second_tier,
    pytest.mark.usefixtures("instrumented"),
    pytest.mark.filterwarnings("ignore"),  # of what the library brings along
]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Letters(DenseEncoder):
    """Texts by their letters: an embedding that needs no model."""

    name: str = "letters"

    def __call__(self, docs: list[Any]) -> list[list[float]]:
        return [[float(doc.lower().count(letter)) + 0.01 for letter in LETTERS] for doc in docs]


def routes(**thresholds: float) -> list[Route]:
    examples = {"weather": ["will it rain", "is it sunny"], "money": ["pay my bill", "a refund"]}
    return [
        Route(name=name, utterances=told, confidence_threshold=thresholds.get(name))
        for name, told in examples.items()
    ]


def router_of(**more: Any) -> Any:
    given = {"routes": routes(money=0.9), "confidence_threshold": 0.5, **more}
    return IndexedRouter(encoder=Letters(), **given)


def ask(router: Any, query: str) -> str | None:
    return router(query).name


def ask_async(router: Any, query: str) -> str | None:
    return asyncio.run(router.acall(query)).name


def decided(captured: Captured, act: Callable[[], object]) -> RouterDecision:
    with mvtrace.request(route="/ask"):
        act()
    [decision] = captured.records[-1].router_decisions
    return decision


@pytest.mark.parametrize("act", [ask, ask_async])
def test_a_decision(captured: Captured, act: Callable[[Any, str], str | None]) -> None:
    """
    The decision has every route with its score and the threshold in force for it, what was chosen
    and why, and the policy; not what was asked.
    """
    router = router_of()
    found: list[str | None] = []
    decision = decided(captured, lambda: found.append(act(router, "will it rain")))

    assert found == ["weather"] == [decision.chosen]
    candidates = {one.name: one for one in decision.candidates}
    assert {name: one.threshold for name, one in candidates.items()} == {
        "weather": 0.5, "money": 0.9,
    }  # fmt: skip
    assert candidates["weather"].score > candidates["money"].score  # type: ignore[operator]
    assert candidates["money"].reason == "below its threshold"
    policy = decision.policy or {}
    assert (policy["aggregation"], policy["encoder"]["name"]) == ("mean", "letters")
    assert decision.policy_digest is not None
    assert b"rain" not in captured.record.to_bytes()
    tell(
        "semantic-router",
        version("semantic-router"),
        ["decisions: scores, thresholds in force, policy", "chains and who was not sure"],
    )


def test_nobody(captured: Captured) -> None:
    """
    Where no route reaches its threshold, that is what the decision says.
    """
    router = router_of(confidence_threshold=1.5, routes=routes())
    found: list[str | None] = []
    decision = decided(captured, lambda: found.append(ask(router, "will it rain")))

    assert found == [None]
    assert decision.chosen == "no route"


def test_a_threshold_edited_at_run_time(captured: Captured) -> None:
    """
    An edited threshold is the one in force from the next request on: another policy, another
    version. A threshold given with a call is the one of that call.
    """
    router = router_of()
    first = decided(captured, lambda: ask(router, "will it rain"))
    same = decided(captured, lambda: ask(router, "a refund"))
    router.confidence_threshold = 0.6
    edited = decided(captured, lambda: ask(router, "will it rain"))
    given = decided(captured, lambda: router("will it rain", threshold=0.7))

    assert first.policy_digest == same.policy_digest != edited.policy_digest
    bars = [
        next(one.threshold for one in decision.candidates if one.name == "weather")
        for decision in (first, edited, given)
    ]
    assert bars == [0.5, 0.6, 0.7]
    one, two, three, _ = captured.records
    assert one.composite_version == two.composite_version != three.composite_version
    assert [drift.kind for drift in three.drift] == ["router"]


def test_an_example_more(captured: Captured) -> None:
    """
    A route with another example is another policy.
    """
    router = router_of()
    first = decided(captured, lambda: ask(router, "will it rain"))
    router.add(Route(name="weather", utterances=["is there snow"]))
    second = decided(captured, lambda: ask(router, "will it rain"))

    assert first.policy_digest != second.policy_digest


@pytest.mark.parametrize("act", [ask, ask_async])
def test_a_chain(captured: Captured, act: Callable[[Any, str], str | None]) -> None:
    """
    A chain is one decision, that says which of its routers was asked first and was not sure.
    """
    chain = Chain([router_of(confidence_threshold=1.5, routes=routes()), router_of()])
    found: list[str | None] = []
    decision = decided(captured, lambda: found.append(act(chain, "will it rain")))

    assert found == [decision.chosen] == ["weather"]
    assert decision.fallbacks == ("1 IndexedRouter",)
    reasons = {one.name: one.reason or "" for one in decision.candidates}
    assert reasons["1 IndexedRouter"].startswith("not sure: weather with ")
    assert reasons["1 IndexedRouter"].endswith(" of 1.5")


def boom(*_: object, **__: object) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize("name", ["routing", "_policy", "_bar", "_name_in", "call_site", "Choice"])
def test_no_failure_of_ours_reaches_the_library(
    captured: Captured, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """
    Whichever step of ours fails, routers and chains choose as ever.
    """
    monkeypatch.setattr(integration, name, boom)
    with mvtrace.request(route="/ask"):
        assert ask(router_of(), "will it rain") == "weather"
        chain = Chain([router_of(confidence_threshold=1.5, routes=routes()), router_of()])
        assert ask_async(chain, "will it rain") == "weather"

    assert captured.record.outcome == "ok"


def test_uninstrument(captured: Captured) -> None:
    """
    Turned off, nothing is recorded.
    """
    router = router_of()
    mvtrace.uninstrument()
    with mvtrace.request(route="/ask"):
        assert ask(router, "will it rain") == "weather"

    assert captured.record.router_decisions == ()
