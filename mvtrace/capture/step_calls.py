"""Steps around the models: ``routing``, ``tool``, ``postprocess``, ``guardrail``.

In: what was weighed and chosen, run and said. Out: spans, calls and router decisions with every
candidate; drift where a policy is not the declared one.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from mvtrace import semconv
from mvtrace.capture import plain
from mvtrace.capture.calls import Call
from mvtrace.capture.declared import POLICY, Pinned, digest_with, facts_of
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import fail_open
from mvtrace.capture.observing import Part
from mvtrace.components.component import Component
from mvtrace.digest import COMPONENT_DOMAIN, canonical_bytes, digest_of
from mvtrace.errors import CanonicalFormError
from mvtrace.records import (
    CallKind,
    Candidate,
    RouterDecision,
)

MAX_CANDIDATES: Final = 256
MAX_POLICY_DEPTH: Final = 8
"""How deep the settings of a policy may nest; below, their types alone are told."""

_PAIR: Final = 2


class RoutingCall(Call):
    """A choice between ways to answer."""

    kind: ClassVar[CallKind] = "routing"

    features: Mapping[str, Any] | None = None
    policy: Any = None

    _candidates: dict[str, dict[str, Any]] | None = None
    _in_force: Mapping[str, Any] | None = None
    """The policy as it was when the choice began."""
    _bare_digest: str | None = None
    _chosen: str | None = None
    _reason: str | None = None
    _fallbacks: tuple[str, ...] = ()

    @fail_open
    def candidate(
        self,
        name: str,
        *,
        score: float | None = None,
        threshold: float | None = None,
        reason: str | None = None,
    ) -> None:
        """Add one option: its score, the threshold in force for it, why it was taken or not.

        A *threshold* that is not given is that of *name* in the policy's ``thresholds``.
        """
        if threshold is None:
            threshold = threshold_in(self._in_force or {}, name)
        candidates = self._weighed()
        if len(candidates) >= MAX_CANDIDATES:
            self.counter.truncated += 1
            return
        candidates[plain.text(name, plain.MAX_NAME, self.counter)] = {
            "score": plain.number(score),
            "threshold": plain.number(threshold),
            "reason": plain.optional_text(reason, plain.MAX_REASON, self.counter),
        }

    @fail_open
    def choose(self, name: str, *, reason: str | None = None) -> None:
        """Say which option was taken; one that was not weighed before is added."""
        self._chosen = plain.text(name, plain.MAX_NAME, self.counter)
        self._reason = plain.optional_text(reason, plain.MAX_REASON, self.counter)
        chosen = self._weighed().setdefault(self._chosen, {})
        if chosen.get("reason") is None:
            chosen["reason"] = self._reason

    @fail_open
    def consider(self, **features: object) -> None:
        """Say what the choice is made by, besides what was known when it began."""
        self.features = {**(self.features or {}), **features}

    @fail_open
    def fallback(self, name: str, *, reason: str | None = None) -> None:
        """Say that *name* was tried and did not answer, and why."""
        tried = plain.text(name, plain.MAX_NAME, self.counter)
        if len(self._fallbacks) < MAX_CANDIDATES:
            self._fallbacks += (tried,)
        if reason is not None:
            weighed = self._weighed().setdefault(tried, {})
            weighed["reason"] = plain.text(reason, plain.MAX_REASON, self.counter)

    def _weighed(self) -> dict[str, dict[str, Any]]:
        if self._candidates is None:
            self._candidates = {}
        return self._candidates

    def opened(self) -> None:
        """Read the policy as it is now: it may be edited while the process runs."""
        if self.policy is not None:
            held, self.policy = self.policy, None  # none where it cannot be read
            self.policy = self._in_force = policy_in_force(held)
            self._bare_digest = _digest_of(self.policy)
        elif self.component is not None:
            self._in_force = facts_of(self.component).get(POLICY)

    def returned(self, result: object) -> None:
        """Take the name a decorated function returns as the choice."""
        if isinstance(result, str) and self._chosen is None:
            self.choose(result)

    def end_attributes(self) -> dict[str, Any]:
        """Return the policy and the choice."""
        found = super().end_attributes()
        if (digest := self._policy_digest()) is not None:
            found[semconv.ROUTER_POLICY_DIGEST] = digest
        if self._chosen is not None:
            found[semconv.ROUTER_CHOSEN] = self._chosen
        if self._reason is not None:
            found[semconv.ROUTER_REASON] = self._reason
        if self._candidates:
            found[semconv.ROUTER_CANDIDATES] = tuple(self._candidates)
        return found

    def _policy_digest(self) -> str | None:
        """Return the digest of the router with the policy in force."""
        router = self.component
        if router is None:
            return self._bare_digest
        if self.policy is None or facts_of(router).get(POLICY) == self.policy:
            return router.digest
        return digest_with(router, policy=self.policy)

    def compare(self) -> None:
        """Compare the router in force with the one declared for its slot."""
        router, exchange, digest = self.component, self._exchange, self._policy_digest()
        if router is None or exchange is None or digest is None:
            return
        exchange.add_observed(router.kind, router.name, digest)
        declared = exchange.declared.component(router.kind, router.name) or router
        if declared.digest != digest:
            self.drifted(declared, "policy", declared.digest, digest)

    def parts(self) -> Iterator[Part | Component]:
        """Yield the router with the policy in force."""
        if self.policy is None:
            yield from super().parts()
        elif self.component is None:
            yield Part("router", self.name, {POLICY: self.policy})
        else:
            facts = {**facts_of(self.component), POLICY: self.policy}
            yield Part(self.component.kind, self.component.name, facts, at_call=False)

    def fill(self, exchange: RequestExchange, duration_ns: int) -> None:
        """Put call and decision on the record."""
        if exchange.add_call(self.as_record(exchange, duration_ns, {})):
            exchange.router_decisions.append(self._decision(exchange))

    def _decision(self, exchange: RequestExchange) -> RouterDecision:
        router, policy = self.component, self._in_force
        return RouterDecision(
            name=plain.text(self.name if router is None else router.name, plain.MAX_NAME, exchange),
            policy_digest=self._policy_digest(),
            policy=plain.facts(policy, exchange) if isinstance(policy, Mapping) else None,
            features=None if self.features is None else plain.facts(self.features, exchange),
            candidates=tuple(
                Candidate(name=name, chosen=name == self._chosen, **facts)
                for name, facts in (self._candidates or {}).items()
            ),
            chosen=self._chosen,
            reason=self._reason,
            fallbacks=self._fallbacks,
            span_id=self._span_id,
        )


def policy_in_force(policy: Any, depth: int = 0) -> Any:
    """Return the values of *policy* as they are now, as far as they can be JSON.

    What holds them may be a mapping, a dataclass, a pydantic model, any object with attributes, or
    a function that returns one of these.
    """
    if isinstance(policy, str | int | float | bool | None):
        return policy
    if depth > MAX_POLICY_DEPTH:
        return type(policy).__qualname__
    if inspect.isroutine(policy):
        return policy_in_force(policy(), depth + 1)
    if isinstance(policy, set | frozenset):
        policy = sorted(policy, key=repr)
    if isinstance(policy, list | tuple):
        return [policy_in_force(value, depth + 1) for value in policy]
    settings = _settings_of(policy)
    if settings is None:
        return str(policy)
    return {str(key): policy_in_force(value, depth + 1) for key, value in settings.items()}


def threshold_in(policy: Any, name: str) -> float | None:
    """Return the threshold that *policy* has for *name*; None where it has none."""
    several = policy.get("thresholds") if isinstance(policy, Mapping) else None
    found = several.get(name) if isinstance(several, Mapping) else None
    return found if isinstance(found, int | float) else None


def _settings_of(policy: Any) -> Mapping[Any, Any] | None:
    """Return what *policy* holds by name; None where it is one value."""
    if isinstance(policy, Mapping):
        return policy
    if isinstance(policy, type):
        return None
    if dataclasses.is_dataclass(policy):
        return {field.name: getattr(policy, field.name) for field in dataclasses.fields(policy)}
    if hasattr(policy, "model_dump"):
        settings: Mapping[Any, Any] = policy.model_dump()
        return settings
    held = getattr(policy, "__dict__", None)
    if held is None:
        return None
    return {key: value for key, value in held.items() if not key.startswith("_")}


def _digest_of(policy: Any) -> str | None:
    """Return the digest of a router that is nothing but *policy*."""
    try:
        body = canonical_bytes({"kind": "router", "facts": {POLICY: policy}})
    except CanonicalFormError:
        return None
    return digest_of(COMPONENT_DOMAIN, body)


class ToolCall(Call):
    """A tool that is run."""

    kind: ClassVar[CallKind] = "tool"

    arguments: object = None

    @fail_open
    def result(self, value: object) -> None:
        """Give what the tool returned: its keyed digest is kept."""
        self._output_digest = self.digest(value, "output")

    def returned(self, result: object) -> None:
        """Take what a decorated function returns as the result."""
        if result is not None and self._output_digest is None:
            self.result(result)

    def opened(self) -> None:
        """Keep the digest of the arguments."""
        if self.arguments is not None:
            self._input_digest = self.digest(self.arguments, "arguments")

    def span_name(self) -> str:
        """Return operation and tool, as OpenTelemetry names such spans."""
        return f"execute_tool {self.name}"

    def start_attributes(self) -> dict[str, Any]:
        """Return the tool."""
        found = super().start_attributes()
        found[semconv.GEN_AI_OPERATION] = "execute_tool"
        found[semconv.GEN_AI_TOOL_NAME] = self.name
        return found


class PostprocessCall(Call):
    """A step that changes the answer."""

    kind: ClassVar[CallKind] = "postprocess"

    @fail_open
    def input(self, value: object) -> None:
        """Give what goes in: its keyed digest is kept."""
        self._input_digest = self.digest(value, "input")

    @fail_open
    def output(self, value: object) -> None:
        """Give what comes out: its keyed digest is kept."""
        self._output_digest = self.digest(value, "output")

    def returned(self, result: object) -> None:
        """Take what a decorated function returns as the output."""
        if result is not None and self._output_digest is None:
            self.output(result)


class GuardrailCall(PostprocessCall):
    """A check that may stop or change the answer."""

    kind: ClassVar[CallKind] = "guardrail"

    _verdict: str | None = None

    @fail_open
    def verdict(self, said: object) -> None:
        """Say what the check found: ``pass``, ``block``, or its own word."""
        word = {True: "pass", False: "block"}.get(said) if isinstance(said, bool) else said
        self._verdict = plain.text(word, plain.MAX_NAME, self.counter)

    def returned(self, result: object) -> None:
        """Take the boolean or the word a decorated function returns as the verdict."""
        if isinstance(result, (bool, str)) and self._verdict is None:
            self.verdict(result)

    def end_attributes(self) -> dict[str, Any]:
        """Return the verdict too."""
        found = super().end_attributes()
        if self._verdict is not None:
            found[semconv.GUARDRAIL_VERDICT] = self._verdict
        return found

    def fill(self, exchange: RequestExchange, duration_ns: int) -> None:
        """Put the call with its verdict on the record."""
        exchange.add_call(self.as_record(exchange, duration_ns, {"verdict": self._verdict}))


def routing(
    name: str,
    *,
    router: Pinned | None = None,
    features: Mapping[str, Any] | None = None,
    policy: object = None,
) -> RoutingCall:
    """Return a choice, for ``with``, ``async with`` or as a decorator.

    *router* is the component of ``mvtrace.router``, *features* what the choice is made by. *policy*
    is the one in force, where that may differ from the pinned one: a mapping, an object that holds
    the settings, or a function that returns one. It is read when the choice begins.
    """
    call = RoutingCall(name, router)
    call.features = features
    call.policy = policy
    return call


def tool(name: str, *, arguments: object = None, component: Pinned | None = None) -> ToolCall:
    """Return the run of a tool, for ``with``, ``async with`` or as a decorator."""
    call = ToolCall(name, component)
    call.arguments = arguments
    return call
