"""Steps around the models: ``retrieval``, ``routing``, ``tool``, ``postprocess``, ``guardrail``.

In: what was searched and found, weighed and chosen, run and said. Out: spans, calls, index
snapshots *as queried* and router decisions with every candidate; drift where an index or a policy
is not the declared one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, Protocol

from mvtrace import semconv
from mvtrace.capture import plain
from mvtrace.capture.calls import Call
from mvtrace.capture.declared import POLICY, Pinned, digest_with, facts_of
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import fail_open
from mvtrace.records import (
    CallKind,
    Candidate,
    IndexSnapshot,
    RetrievedDocument,
    RouterDecision,
)

MAX_DOCUMENTS: Final = 1000
MAX_CANDIDATES: Final = 256
MAX_SPAN_DOCUMENTS: Final = 100
"""Documents on a span; the record has them all."""

_PAIR: Final = 2


class IndexState(Protocol):
    """An index as it is now."""

    @property
    def digest(self) -> str | None:
        """Digest of the component it would be pinned as; None where that is not known."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts under the digest."""


class RetrievalCall(Call):
    """A search in an index."""

    kind: ClassVar[CallKind] = "retrieval"

    query: object = None
    top_k: int | None = None

    _state: IndexState | None = None
    _documents: tuple[RetrievedDocument, ...] = ()

    @fail_open
    def documents(self, hits: Iterable[Any]) -> None:
        """Say what came back: ``(id, score)`` pairs, or ids, in their order; never their texts."""
        counter = self.counter
        found: list[RetrievedDocument] = []
        for hit in hits:
            if len(found) >= MAX_DOCUMENTS:
                counter.truncated += 1
                break
            identity, score = hit if isinstance(hit, tuple) else (hit, None)
            found.append(
                RetrievedDocument(
                    id=plain.text(identity, plain.MAX_ID, counter), score=plain.number(score)
                )
            )
        self._documents = tuple(found)

    def returned(self, result: object) -> None:
        """Take the pairs a decorated function returns as the documents."""
        if isinstance(result, (list, tuple)) and all(
            isinstance(hit, tuple) and len(hit) == _PAIR for hit in result
        ):
            self.documents(result)

    def opened(self) -> None:
        """Look at the index as it is about to be queried."""
        source = getattr(self.component, "source", None)
        if hasattr(source, "current"):
            self._look(source)
        if self.query is not None:
            self._input_digest = self.digest(self.query, "query")

    @fail_open
    def _look(self, source: Any) -> None:
        self._state = source.current()

    def start_attributes(self) -> dict[str, Any]:
        """Return index and top_k."""
        found = super().start_attributes()
        found[semconv.GEN_AI_OPERATION] = "retrieval"
        found[semconv.INDEX_NAME] = self._index_name()
        if self.top_k is not None:
            found[semconv.GEN_AI_RETRIEVAL_TOP_K] = self.top_k
        return found

    def end_attributes(self) -> dict[str, Any]:
        """Return the index as queried, and what came back."""
        found = super().end_attributes()
        if self._state is not None and self._state.digest is not None:
            found[semconv.INDEX_SNAPSHOT] = self._state.digest
        if (expected := self._expected()) is not None:
            found[semconv.INDEX_EXPECTED] = expected
        shown = self._documents[:MAX_SPAN_DOCUMENTS]
        if shown:
            found[semconv.DOCUMENT_IDS] = tuple(document.id for document in shown)
            scores = tuple(document.score for document in shown if document.score is not None)
            if len(scores) == len(shown):
                found[semconv.DOCUMENT_SCORES] = scores
        return found

    def compare(self) -> None:
        """Note which state of the index answered, and drift from the declared one."""
        component, exchange, state = self.component, self._exchange, self._state
        if component is None or exchange is None:
            return
        if state is None:
            self.meet(component, "digest")
            return
        expected = self._expected()
        if state.digest is None:
            self._compare_size(component, state)
            return
        exchange.add_observed(component.kind, component.name, state.digest)
        if expected is not None and state.digest != expected:
            self.drifted(component, "digest", expected, state.digest)

    def _compare_size(self, component: Pinned, state: IndexState) -> None:
        """Tell what can be told of an index that changed too fast to be hashed."""
        size = state.facts.get("snapshot", {}).get("size")
        declared = facts_of(component).get("snapshot", {}).get("size")
        if size is not None and declared is not None and size != declared:
            self.drifted(component, "size", str(declared), str(size))

    def _index_name(self) -> str:
        return self.name if self.component is None else self.component.name

    def _expected(self) -> str | None:
        """Return the digest declared for the slot; without a composite the component's own."""
        if self.component is None:
            return None
        declared = self.declared.component(self.component.kind, self.component.name)
        return self.component.digest if declared is None else declared.digest

    def fill(self, exchange: RequestExchange, duration_ns: int) -> None:
        """Put call and index snapshot on the record."""
        if exchange.add_call(self.as_record(exchange, duration_ns)):
            exchange.index_snapshots.append(self._snapshot(exchange))

    def _snapshot(self, exchange: RequestExchange) -> IndexSnapshot:
        state = self._state
        facts: Mapping[str, Any] = {} if state is None else state.facts
        content = facts.get("snapshot", {})
        return IndexSnapshot(
            name=plain.text(self._index_name(), plain.MAX_NAME, exchange),
            digest=None if state is None else state.digest,
            expected=self._expected(),
            native_version=plain.optional_text(
                content.get("native_version"), plain.MAX_NAME, exchange
            ),
            fingerprint=plain.optional_text(content.get("fingerprint"), plain.MAX_NAME, exchange),
            size=plain.count(content.get("size")),
            dimension=plain.count(content.get("dimension")),
            metric=plain.optional_text(content.get("metric"), plain.MAX_NAME, exchange),
            embedding_model=facts.get("embedding_model", {}).get("digest"),
            method=plain.optional_text(content.get("method"), plain.MAX_NAME, exchange),
            top_k=plain.count(self.top_k),
            documents=self._documents,
            query_digest=self._input_digest,
            span_id=self._span_id,
        )


class RoutingCall(Call):
    """A choice between ways to answer."""

    kind: ClassVar[CallKind] = "routing"

    features: Mapping[str, Any] | None = None
    policy: Any = None

    _candidates: dict[str, dict[str, Any]] | None = None
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
        """Add one option: its score, the threshold in force for it, why it was taken or not."""
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
    def fallback(self, name: str) -> None:
        """Say that *name* was tried and did not answer."""
        if len(self._fallbacks) < MAX_CANDIDATES:
            self._fallbacks += (plain.text(name, plain.MAX_NAME, self.counter),)

    def _weighed(self) -> dict[str, dict[str, Any]]:
        if self._candidates is None:
            self._candidates = {}
        return self._candidates

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
            return None
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

    def fill(self, exchange: RequestExchange, duration_ns: int) -> None:
        """Put call and decision on the record."""
        if exchange.add_call(self.as_record(exchange, duration_ns)):
            exchange.router_decisions.append(self._decision(exchange))

    def _decision(self, exchange: RequestExchange) -> RouterDecision:
        router = self.component
        policy = self.policy
        if policy is None and router is not None:
            policy = facts_of(router).get(POLICY)
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
        exchange.add_call(self.as_record(exchange, duration_ns, verdict=self._verdict))


def retrieval(
    name: str, *, index: Pinned | None = None, query: object = None, top_k: int | None = None
) -> RetrievalCall:
    """Return a search, for ``with``, ``async with`` or as a decorator.

    *index* is the component of ``mvtrace.index``: its state is looked at before the block runs. Of
    *query* only a keyed digest is kept.
    """
    call = RetrievalCall(name, index)
    call.query = query
    call.top_k = top_k
    return call


def routing(
    name: str,
    *,
    router: Pinned | None = None,
    features: Mapping[str, Any] | None = None,
    policy: object = None,
) -> RoutingCall:
    """Return a choice, for ``with``, ``async with`` or as a decorator.

    *router* is the component of ``mvtrace.router``, *policy* the one in force right now where that
    may differ from the pinned one, *features* what the choice is made by.
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
