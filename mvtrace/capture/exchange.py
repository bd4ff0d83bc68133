"""One request in progress: everything that changes while it runs lives here, and dies with it.

In: what the middleware, the wrappers and the application report. Out: two ``RequestRecord``s at
most (started, finished), another for each call of work that outlives the request, and its spans.
Independent of samplers and span limits: what is on the record was never on a span first. No I/O
happens here, and nothing here waits.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any, Final, Literal

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from mvtrace import semconv
from mvtrace.capture import plain
from mvtrace.capture.arms import Side
from mvtrace.capture.context import Exchange, swap_exchange
from mvtrace.capture.declared import Chooser, Declared
from mvtrace.capture.evidence import FINISHED, MAX_AMENDMENTS, STARTED, Evidence
from mvtrace.capture.guard import BREAKER, fail_open
from mvtrace.capture.incoming import NOTHING_INCOMING, Caller, Incoming
from mvtrace.capture.observing import ObservedSystem, Part
from mvtrace.capture.outgoing import kept_in
from mvtrace.capture.pipeline import Tracing
from mvtrace.capture.privacy import Held
from mvtrace.capture.watch import WATCH
from mvtrace.components.component import Component
from mvtrace.ids import new_request_id
from mvtrace.otlp import FinishedSpan
from mvtrace.records import Assignment, Drift, Outcome, RequestRecord

MAX_SPANS: Final = 2000
_SELDOM: Final = (
    "parent_request_id",
    "parent_composite_version",
    "parent_arm",
    "conversation_id",
    "error_type",
    "arm",
    "assignment",
    "cache_origin",
    "annotations",
)
_REST: Final = {semconv.IS_DECLARED_KIND: False}
_LISTS: Final = ("aliases", "router_decisions", "index_snapshots", "calls")


class RequestExchange(Evidence):
    """A request from its first event to its last, whatever brought it."""

    protocol: str = "task"
    method: str | None = None
    route: str | None = None
    path: str | None = None
    parent_request_id: str | None = None
    parent_composite_version: str | None = None
    parent_arm: str | None = None
    conversation_id: str | None = None
    cache_origin: str | None = None
    assignment: Assignment | None = None
    flags: Mapping[str, str] | None = None
    side: Side | None = None
    """Which of a rollout's systems serves; None where there is no rollout."""
    chooser: Chooser | None = None
    """The rollout that a middleware asked which side serves."""
    undecided: Chooser | None = None
    """The rollout that is still to be told for whom the request is."""
    ended_at: int | None = None
    outcome: Outcome | None = None
    error_type: str | None = None
    is_finished = False
    has_started_record = False
    span: Span = trace.INVALID_SPAN
    owns_span = False
    _before: Exchange | None = None
    _context_before: context_api.Context | None = None
    _context: context_api.Context | None = None

    def __init__(self, tracing: Tracing, declared: Declared, *, arm: str | None) -> None:
        super().__init__(tracing)
        self.started_at = time.time_ns()
        self.clock_offset = self.started_at - time.perf_counter_ns()
        self.declared = declared
        self.request_id = new_request_id(self.started_at)
        self.producer_id = tracing.producer_id
        self.sequence = tracing.next_sequence()
        self.system: ObservedSystem | None = tracing.observed_system
        """What knows the parts that nobody declared, and makes a version of them where none is."""
        self.composite_version = declared.version
        if declared.composite is None and self.system is not None:
            self.composite_version = self.system.latest
        self.parts: list[Part | Component] = []
        self.arm = arm
        self.spans: list[FinishedSpan] = []

    def now(self) -> int:
        """Return Unix nanoseconds that never go back within the request."""
        return time.perf_counter_ns() + self.clock_offset

    def declare(self, declared: Declared) -> None:
        """Let *declared* be what serves the request from here on."""
        if declared.composite is not None:
            self.tracing.register(declared.composite)
        self.declared = declared
        self.composite_version = declared.version
        self.side = self.undecided = None

    def serve(self, side: Side, assignment: Assignment | None = None) -> None:
        """Let *side* of a rollout serve the request from here on, by *assignment* if it has one."""
        declared = side.declared
        if declared is not self.declared and side.arm.composite is not None:
            self.tracing.register(side.arm.composite)  # again, where it could not be spooled
        self.declared, self.side = declared, side
        if declared.composite is not None or self.system is None:
            self.composite_version = declared.version
        if assignment is not None:
            self.assignment, self.arm, self.flags = assignment, side.arm.name, side.flags
            if self.span.is_recording():
                self._stamp_late()

    def _stamp_late(self) -> None:
        """Put on the span what was not known at its start."""
        late = {semconv.ARM: self.arm, semconv.COMPOSITE_VERSION: self.composite_version}
        late |= self.flags or {}
        self.span.set_attributes({name: said for name, said in late.items() if said is not None})

    # Entering and leaving

    def enter(self, incoming: Incoming, kind: SpanKind = SpanKind.SERVER) -> None:
        """Make this the current request, in the span that stands for it."""
        self._before = swap_exchange(self)
        self._note_incoming(incoming)
        self._enter_span(incoming, kind)

    @fail_open
    def _enter_span(self, incoming: Incoming, kind: SpanKind) -> None:
        current = trace.get_current_span()
        if self._before is None and _is_server_span(current):
            self.span = current
            self.tracing.adopt_span(current, self)
            current.set_attributes(self.start_attributes())
            self._attach(context_api.get_current())
            return
        parent = None
        if not current.get_span_context().is_valid:
            parent = incoming.parent_context(trust=self.tracing.config.trust_incoming)
        self.span = self.tracing.tracer.start_span(
            self.span_name(),
            context=parent,
            kind=kind,
            attributes=self.start_attributes(),
            start_time=self.started_at,
        )
        self.owns_span = True
        self._attach(trace.set_span_in_context(self.span))

    def _attach(self, context: context_api.Context) -> None:
        """Let *context* be the current one, without what our own caller said of itself in it."""
        before = context_api.get_current()
        kept = kept_in(context)
        if kept is not before:
            self._context_before, self._context = before, kept
            context_api.attach(kept)

    @fail_open
    def _note_incoming(self, incoming: Incoming) -> None:
        if incoming is NOTHING_INCOMING:
            return
        trust = self.tracing.config.trust_incoming
        self.called_by(incoming.caller(trust=trust))
        if incoming.client_request_id:
            self.add_alias(semconv.ALIAS_X_REQUEST_ID, incoming.client_request_id)

    def called_by(self, caller: Caller | None) -> None:
        """Note which request this one is part of."""
        if caller is not None:
            self.parent_request_id, self.parent_composite_version, self.parent_arm = caller

    def leave(self) -> None:
        """Put back what was current before, unless somebody else has changed it meanwhile."""
        current = swap_exchange(self._before)
        if current is not self:
            swap_exchange(current)
        if self._context is not None and context_api.get_current() is self._context:
            context_api.attach(self._context_before or context_api.Context())

    def span_name(self) -> str:
        """Return the name of our own span, as far as it is known."""
        return self.route or self.protocol

    def start_attributes(self) -> dict[str, Any]:
        """Return what is known of the request when its span starts."""
        return {}

    def end_attributes(self) -> dict[str, Any]:
        """Return what is known of the request when its span ends."""
        found: dict[str, Any] = {}
        if self.error_type is not None:
            found[semconv.ERROR_TYPE] = self.error_type
        if self.drift:
            found[semconv.DRIFT] = [f"{d.kind}/{d.name} {d.what}" for d in self.drift.values()]
        if self.conversation_id is not None:
            found[semconv.GEN_AI_CONVERSATION_ID] = self.conversation_id
        if self.cache_origin is not None:
            found[semconv.CACHE_ORIGIN] = self.cache_origin
        return found

    @property
    def is_inherited(self) -> bool:
        """Whether this is the child of a fork: the request, and its record, are its parent's."""
        return self.producer_id != self.tracing.producer_id

    # What others report

    def add_span(self, span: FinishedSpan) -> None:
        """Take a span that finished in the request; after its end spans go straight out."""
        if self.is_finished or self.is_inherited:
            self.tracing.emit_spans((span,))
        elif len(self.spans) < MAX_SPANS:
            self.spans.append(span)
        else:
            self.spans_dropped += 1

    def owns_server_span(self, span_id: bytes) -> bool:
        """Whether *span_id* is the span that stands for the request."""
        return self.span.get_span_context().span_id.to_bytes(8, "big") == span_id

    def _send_texts(self) -> None:
        texts, self._texts, self._held = self._texts, (), 0
        if texts:
            self.tracing.emit_content(Held(self.request_id, self.subject, texts))

    @property
    def _is_undeclared(self) -> bool:
        """Whether the version is made of what was met."""
        return self.declared.composite is None and self.system is not None

    def _composite_name(self) -> str | None:
        if self.declared.composite is None and self.system is not None:
            return self.system.name
        return self.declared.name

    @fail_open
    def _observe(self) -> None:
        """Let what the request met say what served it, as far as that is not declared."""
        if self.system is None:
            return
        parts, self.parts = self.parts, []
        seen = self.system.see(
            parts,
            route=self.route,
            began_at=self.started_at / 1e9,
            declared=self.declared.kinds,
        )
        if seen.rest is not None:
            self.tracing.register(seen.rest)
        if seen.version is not None:
            self.tracing.register(seen.version)
            self.composite_version = seen.version.version
        facts = _REST if self.declared.kinds else None
        for part in seen.met:
            self.add_observed(part.kind, part.name, part.digest, facts)
        for (kind, name), before, now, is_volatile in seen.changes:
            what = "volatile" if is_volatile else "changed"
            self.drift[kind, name, what, now] = Drift(
                kind=kind, name=name, what=what, expected=before, observed=now
            )

    # The end

    @fail_open
    def note_exception(self, error: BaseException) -> None:
        """Note that the application raised *error*, which goes on unchanged."""
        self.error_type = error_name(error)
        self.outcome = outcome_of(error)

    @fail_open
    def finish(self) -> None:
        """Send the finished record and the spans."""
        if self.is_finished:
            return
        WATCH.forget(self)
        self.leave()
        if self.is_inherited:
            self.is_finished = True
            return
        self.conclude()
        self._observe()
        self._end_span()
        self._revisions = itertools.count(FINISHED + 1)
        self.is_finished = True
        spans, self.spans = self.spans, []
        self._send_texts()  # before its spans: it names the subject that theirs is about
        self.tracing.emit_request(self.record("finished", FINISHED), spans)
        BREAKER.succeeded()

    @fail_open
    def amend(self) -> None:
        """Send the record again, if work that outlived the request has told more about it."""
        if not self.is_finished or self.is_inherited:
            return
        # Numbered after the call was put on the record: the last one has the calls of all threads.
        self.revision = revision = next(self._revisions)
        self._observe()
        self._send_texts()
        if revision <= FINISHED + MAX_AMENDMENTS + 1:
            self.tracing.emit_record(self.record("finished", revision))

    def conclude(self) -> None:
        """Settle end and outcome."""
        if self.ended_at is None:
            self.ended_at = self.now()
        if self.outcome is None:
            self.outcome = "ok"

    @fail_open
    def _end_span(self) -> None:
        if not self.owns_span:
            return
        if self.span.is_recording():
            self.span.set_attributes(self.end_attributes())
            if self.outcome == "error":
                self.span.set_status(StatusCode.ERROR)
            if self.route is not None:
                self.span.update_name(self.span_name())
        self.span.end(self.ended_at)

    @fail_open
    def send_started(self) -> None:
        """Send what is known so far; once, and not after the end."""
        if not (self.is_finished or self.has_started_record or self.is_inherited):
            self.has_started_record = True
            self.tracing.emit_record(self.record("started", STARTED))

    def record(self, state: Literal["started", "finished"], revision: int) -> RequestRecord:
        """Return the evidence so far; for any thread."""
        config = self.tracing.config
        context = self.span.get_span_context()
        has_span = context.is_valid
        return RequestRecord.seen(
            request_id=self.request_id,
            revision=revision,
            state=state,
            producer_id=self.producer_id,
            sequence=self.sequence,
            service=config.service,
            environment=config.environment,
            service_version=config.service_version,
            protocol=self.protocol,
            method=self.method,
            route=self.route,
            path=self.path if self.route is None else None,
            trace_id=f"{context.trace_id:032x}" if has_span else None,
            span_id=f"{context.span_id:016x}" if has_span else None,
            started_at=self.started_at,
            ended_at=self.ended_at,
            outcome=self.outcome,
            composite_version=self.composite_version,
            composite_name=self._composite_name(),
            capture=self.report(),
            **self.transfer_facts(),
            **self._seldom_facts(),
        )

    def transfer_facts(self) -> dict[str, Any]:
        """Return what only a request over a network has."""
        return {}

    def _seldom_facts(self) -> dict[str, Any]:
        """Return what most requests do not have: to name all of it, unseen, took 3 µs a request."""
        found = {name: fact for name in _SELDOM if (fact := getattr(self, name)) is not None}
        for name in _LISTS:
            if items := getattr(self, name):
                found[name] = tuple(items)
        if self._is_undeclared and self.composite_version is not None:
            found["composite_basis"] = "observed"
        if self.observed:
            found["observed"] = tuple(self.observed.values())
        if self.drift:
            found["drift"] = tuple(self.drift.values())
        return found


def error_name(error: BaseException) -> str:
    """Return the type of *error* as OpenTelemetry's ``error.type`` wants it."""
    kind = type(error)
    qualified = kind.__qualname__ if kind.__module__ == "builtins" else _qualified(kind)
    return qualified[: plain.MAX_NAME]


def _qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def outcome_of(error: BaseException) -> Outcome:
    """Return what *error* means for the request: stopped from outside, or failed."""
    return "error" if isinstance(error, Exception) else "cancelled"


def _is_server_span(span: Span) -> bool:
    return span.is_recording() and getattr(span, "kind", None) is SpanKind.SERVER
