"""Routers of the application's own: the decision is whole, with the policy that was in force."""

from __future__ import annotations

import asyncio
import dataclasses
import types
from collections.abc import Callable
from typing import Any

import pytest
from captured import Captured

import mvtrace
from mvtrace.records import RouterDecision

ROUTES = {"small": 0.4, "large": 0.9}


@dataclasses.dataclass
class Settings:
    """What an operator may edit while the process runs."""

    thresholds: dict[str, float] = dataclasses.field(default_factory=lambda: {"small": 0.5})
    fallback: str = "large"


class Model:
    """Like a pydantic model."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def model_dump(self) -> dict[str, Any]:
        return dataclasses.asdict(self._settings)


def decided(captured: Captured, act: Callable[[], object]) -> RouterDecision:
    with mvtrace.request(route="/ask"):
        act()
    [decision] = captured.records[-1].router_decisions
    return decision


@pytest.mark.parametrize(
    "held",
    [
        lambda settings: settings,
        lambda settings: lambda: settings,
        lambda settings: Model(settings),
        lambda settings: types.SimpleNamespace(**vars(settings)),
        lambda settings: settings.__dict__,
    ],
    ids=["dataclass", "function", "model", "object", "mapping"],
)
def test_a_threshold_edited_at_run_time(captured: Captured, held: Callable[..., Any]) -> None:
    """
    Whatever holds the settings, the threshold that is edited while the process runs is the one in
    force from the next request on: on the candidate, in the policy and its digest; it makes another
    version, and drift says that the router changed.
    """
    settings = Settings()

    @mvtrace.routing("pick", policy=held(settings))
    def pick(score: float) -> str:
        call = mvtrace.current_call()
        call.consider(score=score)
        call.candidate("small", score=score)
        return "small" if score >= settings.thresholds["small"] else settings.fallback

    before, same = (decided(captured, lambda: pick(0.6)) for _ in range(2))
    settings.thresholds["small"] = 0.7
    after = decided(captured, lambda: pick(0.6))

    assert [one.chosen for one in (before, same, after)] == ["small", "small", "large"]
    assert [one.candidates[0].threshold for one in (before, same, after)] == [0.5, 0.5, 0.7]
    assert (after.policy or {})["thresholds"] == {"small": 0.7}
    assert before.policy_digest == same.policy_digest != after.policy_digest
    assert after.features == {"score": 0.6}
    first, second, third = captured.records
    assert first.composite_version == second.composite_version != third.composite_version
    assert [(drift.kind, drift.what) for drift in third.drift] == [("router", "changed")]


def test_a_declared_policy_that_was_edited(captured: Captured) -> None:
    """
    Where a composite declares the router, the edited policy is drift from it.
    """
    settings = {"thresholds": {"small": 0.5}}
    declared = mvtrace.router("pick", policy=dict(settings), candidates=list(ROUTES))
    system = mvtrace.composite("s", declared)

    @mvtrace.routing("pick", router=declared, policy=settings)
    def pick() -> str:
        mvtrace.current_call().candidate("small", score=0.6)
        return "small"

    with mvtrace.request(route="/ask", composite=system):
        pick()
    settings["thresholds"] = {"small": 0.7}
    with mvtrace.request(route="/ask", composite=system):
        pick()

    first, second = captured.records
    assert first.drift == ()
    [drift] = second.drift
    assert (drift.name, drift.what) == ("pick", "policy")
    assert drift.expected == first.router_decisions[0].policy_digest == declared.digest
    assert second.router_decisions[0].candidates[0].threshold == 0.7


def test_fallbacks_and_why_they_failed(captured: Captured) -> None:
    """
    What was tried before is on the decision, in its order, each with its reason.
    """

    @mvtrace.routing("ask", policy={"order": list(ROUTES)})
    async def ask() -> str:
        call = mvtrace.current_call()
        for name in ("small", "medium"):
            call.fallback(name, reason=f"TimeoutError of {name}")
        call.choose("large", reason="answered")
        return "the answer, which is no name"

    async def act() -> None:
        async with mvtrace.request(route="/ask"):
            await ask()

    asyncio.run(act())
    [decision] = captured.record.router_decisions
    assert (decision.chosen, decision.fallbacks) == ("large", ("small", "medium"))
    assert {one.name: one.reason for one in decision.candidates} == {
        "small": "TimeoutError of small", "medium": "TimeoutError of medium", "large": "answered",
    }  # fmt: skip


def test_a_policy_that_cannot_be_read(captured: Captured) -> None:
    """
    A policy whose reading fails leaves a decision without one, and the choice as it is.
    """

    def broken() -> dict[str, Any]:
        raise RuntimeError("no settings")

    @mvtrace.routing("pick", policy=broken)
    def pick() -> str:
        return "small"

    decision = decided(captured, pick)

    assert (decision.chosen, decision.policy_digest) == ("small", None)


def test_a_policy_that_holds_itself(captured: Captured) -> None:
    """
    Settings that lead back to themselves are read to a depth, and lists, sets and odd values told.
    """
    settings = types.SimpleNamespace(order=("a", "b"), on={"x"}, odd=object, _private=1)
    settings.itself = settings

    @mvtrace.routing("pick", policy=settings)
    def pick() -> str:
        return "a"

    first, second = (decided(captured, pick) for _ in range(2))

    policy = first.policy or {}
    assert (policy["order"], policy["on"]) == (["a", "b"], ["x"])
    assert "_private" not in policy
    assert first.policy_digest == second.policy_digest is not None
