"""The ``semantic-router`` package: every decision of a router, with what it was made by.

In: the scores that a router has given its routes, and the choice it makes of them. Out: a router
decision: each route with its score and the threshold in force for it, the policy (routes with their
examples, thresholds, encoder, aggregation), which routers of a chain were not sure and why. The
query is not told.

Left out: what a router that merges several opinions was told by each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakKeyDictionary

from mvtrace.capture.guard import fail_open
from mvtrace.capture.step_calls import RoutingCall, policy_in_force, routing
from mvtrace.digest import canonical_bytes, digest_of
from mvtrace.integrations.call_site import call_site
from mvtrace.integrations.hooks import Hook, Installed

NOBODY: Final = "no route"
"""What is chosen where no route reaches its threshold."""
EXAMPLES_DOMAIN: Final = b"mvtrace.router_examples/1\n"
"""Of the digest of a route's examples, which may be many."""
_SETTINGS: Final = ("confidence_threshold", "top_k", "alpha")

_examples: Final[WeakKeyDictionary[Any, dict[str, tuple[Any, str]]]] = WeakKeyDictionary()
"""Digests of examples by router and route, as long as the same lists hold as many."""


class Asked:
    """A chain that asks its routers one after another."""

    def __init__(self, chain: Any) -> None:
        self.chain = chain
        self.unsure: list[tuple[str, str]] = []


_asked: Final[ContextVar[Asked | None]] = ContextVar("mvtrace_router_chain", default=None)


def install() -> tuple[Installed, ...]:
    """Wrap the choice, which all routers share, and the scores of those that a chain asks."""
    from semantic_router import routers  # noqa: PLC0415 (only where it is installed)

    scoring = (
        one for one in vars(routers).values() if "_scores_many" in getattr(one, "__dict__", {})
    )
    hooks = [
        Hook(one, "_scores_many", begin_scoring) for one in scoring if one is not routers.Chain
    ]
    return (
        Hook(routers.BaseRouter, "_choose", begin),
        Hook(routers.Chain, "acall", Chained),
        *hooks,
    )


class Choice:
    """One decision."""

    def __init__(self, router: Any, scores: Mapping[str, float], threshold: float | None) -> None:
        self._call: RoutingCall = routing(call_site(_class_of(router)), policy=_policy(router))
        self._call.open()
        self.enter = self._call.attach
        self.leave = self._call.detach
        self.failed = self._call.close
        self._tell(router, scores, threshold)

    @fail_open
    def _tell(self, router: Any, scores: Mapping[str, float], threshold: float | None) -> None:
        call = self._call
        call.consider(is_calibrated=bool(router.calibrated), threshold_of_call=threshold)
        for name, score in router._probs(dict(scores)).items():  # noqa: SLF001 (not public)
            bar = _bar(router, name) if threshold is None else threshold
            reason = "below its threshold" if bar is not None and score < bar else None
            call.candidate(name, score=float(score), threshold=bar, reason=reason)
        asked = _asked.get()
        if asked is not None and asked.chain is router:
            for tried, why in asked.unsure:
                call.fallback(tried, reason=why)

    @fail_open
    def answered(self, result: Any) -> None:
        """Take the choice; of several the first."""
        chosen = result if not isinstance(result, list) else next(iter(result), None)
        name = getattr(chosen, "name", None)
        if name is None:
            self._call.choose(NOBODY, reason="every route is below its threshold")
        else:
            self._call.choose(name, reason="the highest score that reaches its threshold")
        self._call.close()


def begin(router: Any, scores: Mapping[str, float], _limit: Any, threshold: Any) -> Choice:
    """Return the decision that *router* is about to make."""
    return Choice(router, scores, threshold)


class Chained:
    """One query to a chain."""

    def __init__(self, chain: Any, *_: Any, **__: Any) -> None:
        self._chain = chain

    @fail_open
    def enter(self) -> None:
        """Let the routers it asks be noted."""
        self._before = _asked.set(Asked(self._chain))

    @fail_open
    def leave(self) -> None:
        """End that."""
        _asked.reset(self._before)

    def answered(self, _result: Any) -> None:
        """The choice has been told."""

    def failed(self, _error: BaseException) -> None:
        """There was none."""


class Scoring:
    """One router of a chain that scores."""

    def __init__(self, router: Any, asked: Asked) -> None:
        self._router = router
        self._asked = asked

    def enter(self) -> None:
        """Nothing is current."""

    def leave(self) -> None:
        """Nothing to end."""

    @fail_open
    def answered(self, result: Sequence[Mapping[str, float]]) -> None:
        """Note that it was not sure, where the chain goes on to the next one."""
        router, chain = self._router, self._asked.chain
        if router is chain.routers[-1] or len(result) != 1:
            return
        told = router._probs(dict(result[0]))  # noqa: SLF001 (not public)
        best = max(result[0], key=lambda name: result[0][name])
        bar = _bar(router, best)
        bar = chain.confidence_threshold if bar is None else bar
        if bar is not None and told[best] < bar:
            why = f"not sure: {best} with {told[best]:.4g} of {bar:.4g}"
            self._asked.unsure.append((_name_in(chain, router), why))

    @fail_open
    def failed(self, error: BaseException) -> None:
        """Note the error, which ends the chain."""
        name = _name_in(self._asked.chain, self._router)
        self._asked.unsure.append((name, type(error).__name__))


def begin_scoring(router: Any, *_: Any, **__: Any) -> Scoring | None:
    """Return what a chain's router is about to say; None outside of a chain."""
    asked = _asked.get()
    return None if asked is None or router not in asked.chain.routers else Scoring(router, asked)


def _policy(router: Any) -> dict[str, Any]:
    """Return what decides, as plain values."""
    found = {name: getattr(router, name, None) for name in _SETTINGS}
    for name in ("encoder", "sparse_encoder"):
        encoder = getattr(router, name, None)
        if encoder is not None:
            found[name] = {"class": _class_of(encoder), "name": str(encoder.name)}
    if hasattr(router, "aggregate"):
        found["aggregation"] = _aggregation(router.aggregate)
    if router.calibrator is not None:
        found["calibrator"] = policy_in_force(router.calibrator)
    if hasattr(router, "routers"):
        found["routers"] = [_policy(one) for one in router.routers]
    else:
        found["routes"] = [_route(router, one) for one in router.routes]
    known = {key: one for key, one in found.items() if one is not None}
    return {"class": _class_of(router), **known}


def _route(router: Any, route: Any) -> dict[str, Any]:
    found = {
        "name": route.name,
        "threshold": route.confidence_threshold,
        "description": route.description,
        "examples": _examples_of(router, route),
    }
    return {key: one for key, one in found.items() if one is not None}


def _examples_of(router: Any, route: Any) -> str:
    known = _examples.setdefault(router, {})
    state = id(route.utterances), len(route.utterances)
    if route.name not in known or known[route.name][0] != state:
        told = canonical_bytes([str(one) for one in route.utterances])
        known[route.name] = state, digest_of(EXAMPLES_DOMAIN, told)
    return known[route.name][1]


def _aggregation(function: Any) -> str:
    """Return by what the scores of a route's examples become its own."""
    from semantic_router.routers import indexed  # noqa: PLC0415 (only where it is installed)

    known = getattr(indexed, "_AGG", {})
    return next((name for name, one in known.items() if one is function), "its own")


def _bar(router: Any, name: str) -> float | None:
    bar: float | None = router._bar(name)  # noqa: SLF001 (the threshold in force is not public)
    return bar


def _class_of(value: Any) -> str:
    return type(value).__name__


def _name_in(chain: Any, router: Any) -> str:
    return f"{chain.routers.index(router) + 1} {_class_of(router)}"
