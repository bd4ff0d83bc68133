"""One step of an answer: a span around it, and its part of the request's record.

In: what the application says about the step, as a ``with`` block or through the decorator. Out: a
span in OpenTelemetry's words, a ``Call`` on the record, drift where what was met is not what is
declared. Outside of any request there is the span alone. Nothing here raises into the application,
and no text of a prompt or an answer is kept: digests under the process's key only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from time import perf_counter_ns, time_ns
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from mvtrace import semconv
from mvtrace.capture import plain
from mvtrace.capture.context import current_exchange
from mvtrace.capture.declared import NOTHING, Declared, Pinned
from mvtrace.capture.decorator import Decorator
from mvtrace.capture.exchange import RequestExchange, error_name, outcome_of
from mvtrace.capture.guard import BREAKER, fail_open
from mvtrace.capture.lean import LeanSpan
from mvtrace.capture.observing import Part
from mvtrace.capture.pipeline import Tracing, current_tracing
from mvtrace.components.component import Component
from mvtrace.digest import canonical_bytes
from mvtrace.errors import CanonicalFormError
from mvtrace.records import Call as CallRecord
from mvtrace.records import CallKind, Outcome

MAX_DIGESTED: Final = 16 << 20
"""Characters of a text; a longer one is not digested and counted as truncated."""

_SELDOM: Final = (
    ("input_digest", "_input_digest"),
    ("output_digest", "_output_digest"),
    ("error_type", "_error_type"),
    ("cache_origin", "_cache_origin"),
)
"""Facts of the record that most calls do not have, and where a call holds them."""

_current: ContextVar[Call | None] = ContextVar("mvtrace_call", default=None)


@fail_open
def current_call() -> Call | None:
    """Return the innermost call in progress: how a decorated function reports about itself."""
    return _current.get()


class Call(Decorator):
    """Base of all steps; use the functions ``mvtrace.generation`` … ``mvtrace.guardrail``."""

    kind: ClassVar[CallKind]
    span_kind: ClassVar[SpanKind] = SpanKind.INTERNAL

    truncated = 0
    """Cuts of a call outside of any request; of one within, the request counts them."""
    _span: Span = trace.INVALID_SPAN
    _exchange: RequestExchange | None = None
    _tracing: Tracing | None = None
    _context: context_api.Context | None = None
    _context_before: context_api.Context | None = None
    _before: Call | None = None
    _is_open = False
    _span_id: str | None = None
    _outcome: Outcome = "ok"
    _error_type: str | None = None
    _input_digest: str | None = None
    _output_digest: str | None = None
    _cache_origin: str | None = None
    _drifts: tuple[str, ...] = ()

    def __init__(self, name: str, component: Pinned | None = None) -> None:
        self.name = name
        # A live object that was never pinned has no digest to tell; the call is recorded without.
        is_pinned = component is not None and hasattr(component, "digest")
        self.component = component if is_pinned else None

    # The application's side: with, async with

    def __enter__(self) -> Self:
        self.open()
        self.attach()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.detach()
        self.close(exc)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc, traceback)

    @fail_open
    def cache_origin(self, request_id: str) -> None:
        """Say that the answer came from a cache, filled by the request *request_id*."""
        self._cache_origin = plain.text(request_id, plain.MAX_ID, self.counter)

    @fail_open
    def failed(self, error_type: str, outcome: Outcome = "error") -> None:
        """Say that the step did not end well where no exception tells it: ``error.type``."""
        self._error_type = plain.text(error_type, plain.MAX_NAME, self.counter)
        self._outcome = outcome

    @property
    def is_ok(self) -> bool:
        """Whether nothing is known to have gone wrong."""
        return self._outcome == "ok"

    # The life of the span

    def fresh(self) -> Self:
        """Return a call like this one that has not begun: one for each use of a decorator."""
        fresh = object.__new__(type(self))
        fresh.__dict__.update(self.__dict__)
        return fresh

    @fail_open
    def open(self) -> None:
        """Begin: from here the time of the call runs."""
        if self._tracing is not None:
            raise RuntimeError(f"the call {self.name!r} is used twice; make one for each use")
        exchange = current_exchange()
        if exchange is None and BREAKER.refuses():
            return
        self._exchange = exchange if isinstance(exchange, RequestExchange) else None
        tracing = current_tracing() if self._exchange is None else self._exchange.tracing
        if tracing.config.disabled:
            return
        self._tracing = tracing
        self._is_open = True
        self.started_at = started_at = time_ns()
        self._clock_start = perf_counter_ns()
        self._span = span = tracing.tracer.start_span(
            self.span_name(),
            kind=self.span_kind,
            attributes=self.start_attributes(),
            start_time=started_at,
        )
        self._span_id = _id_of(span)
        self.opened()

    @fail_open
    def open_within(self, outer: Call | None) -> None:
        """Begin as a step of *outer*, which need not be current in this task or thread."""
        if outer is None or not outer.is_open:
            self.open()
            return
        before = context_api.get_current()
        context_api.attach(trace.set_span_in_context(outer._span, before))  # noqa: SLF001 (a Call)
        try:
            self.open()
        finally:
            context_api.attach(before)

    @property
    def request_id(self) -> str | None:
        """The request that the call is a part of."""
        return None if self._exchange is None else self._exchange.request_id

    @property
    def is_cached(self) -> bool:
        """Whether its answer came from a cache: nobody was asked for it."""
        return self._cache_origin is not None

    @property
    def is_open(self) -> bool:
        """Whether the call has begun and not ended."""
        return self._is_open

    @fail_open
    def attach(self) -> None:
        """Make the call and its span current, for one step of a generator or a whole block."""
        self._before = _current.get()
        _current.set(self)  # one that is not captured too: the application may ask for it
        if self._is_open:
            self._context_before = context_api.get_current()
            self._context = trace.set_span_in_context(self._span, self._context_before)
            context_api.attach(self._context)

    @fail_open
    def detach(self) -> None:
        """Put back what was current, unless this runs in a context where the call never was."""
        if _current.get() is self:
            _current.set(self._before)
        if self._context is not None and context_api.get_current() is self._context:
            context_api.attach(self._context_before or context_api.Context())

    @fail_open
    def close(self, error: BaseException | None = None) -> None:
        """End: the span is finished and the call is on the record."""
        if not self._is_open:
            return
        self._is_open = False
        duration_ns = perf_counter_ns() - self._clock_start
        if error is not None:
            self._outcome = outcome_of(error)
            self._error_type = error_name(error)
        try:
            self.compare()
            exchange = self._exchange
            if exchange is not None:
                self.fill(exchange, duration_ns)
                if exchange.system is not None:
                    exchange.parts.extend(self.parts())
                if exchange.is_finished:
                    exchange.amend()
        finally:
            self._end_span()

    @fail_open
    def _end_span(self) -> None:
        span = self._span
        if span.is_recording():
            span.set_attributes(self.end_attributes())
            if self._outcome == "error":
                span.set_status(StatusCode.ERROR)
        span.end()

    # What each kind of call says in its own way

    def span_name(self) -> str:
        """Return the name of the span."""
        return f"{self.kind} {self.name}"

    def start_attributes(self) -> dict[str, Any]:
        """Return what is known when the span starts: what samplers may decide by."""
        return {semconv.CALL_KIND: self.kind, semconv.CALL_NAME: self.name}

    def end_attributes(self) -> dict[str, Any]:
        """Return what is known when the span ends."""
        found: dict[str, Any] = {}
        if self._error_type is not None:
            found[semconv.ERROR_TYPE] = self._error_type
        if self._input_digest is not None:
            found[semconv.INPUT_DIGEST] = self._input_digest
        if self._output_digest is not None:
            found[semconv.OUTPUT_DIGEST] = self._output_digest
        if self._cache_origin is not None:
            found[semconv.CACHE_ORIGIN] = self._cache_origin
        if self._drifts:
            found[semconv.DRIFT] = self._drifts
        return found

    def opened(self) -> None:
        """Look at what the call is about to use."""

    def compare(self) -> None:
        """Note what was met, and drift where it is not what is declared."""
        if self.component is not None:
            self.meet(self.component, "digest")

    def parts(self) -> Iterator[Part | Component]:
        """Yield what the call met of the system, for a version that nobody declared."""
        if isinstance(self.component, Component):
            yield self.component

    def fill(self, exchange: RequestExchange, duration_ns: int) -> None:
        """Put the call on the record."""
        exchange.add_call(self.as_record(exchange, duration_ns, {}))

    def as_record(
        self, exchange: RequestExchange, duration_ns: int, facts: dict[str, Any]
    ) -> CallRecord:
        """Return the call's part of the record, with the *facts* of its kind: a new dict."""
        component = self.component
        if component is not None:
            facts["component"] = f"{component.kind}/{component.name}"
        for name, attribute in _SELDOM:
            if (fact := getattr(self, attribute)) is not None:
                facts[name] = fact
        facts["kind"] = self.kind
        facts["name"] = plain.text(self.name, plain.MAX_NAME, exchange)
        facts["span_id"] = self._span_id
        facts["started_at"] = self.started_at
        facts["duration_ns"] = duration_ns
        facts["outcome"] = self._outcome
        return CallRecord.holding(facts)

    # Means for the kinds

    @property
    def counter(self) -> plain.Counter:
        """Where cuts are counted."""
        return self if self._exchange is None else self._exchange

    @property
    def declared(self) -> Declared:
        """What the request in progress declares."""
        return NOTHING if self._exchange is None else self._exchange.declared

    def meet(self, component: Pinned, what: str) -> None:
        """Note that *component* was used, and drift if its slot declares another one."""
        exchange = self._exchange
        if exchange is None:
            return
        exchange.add_observed(component.kind, component.name, component.digest)
        self.compare_with_declared(component, what)

    def compare_with_declared(self, component: Pinned, what: str) -> None:
        """Note drift if the slot of *component* declares another digest."""
        declared = self.declared.component(component.kind, component.name)
        if declared is not None and declared.digest != component.digest:
            self.drifted(declared, what, declared.digest, component.digest)

    def drifted(self, slot: Pinned, what: str, expected: str, observed: str) -> None:
        """Note drift, on the record and on the span."""
        if self._exchange is not None:
            self._exchange.add_drift(
                slot, what, expected=expected, observed=observed, span_id=self._span_id
            )
            self._drifts += (f"{slot.kind}/{slot.name} {what}",)

    def digest(self, value: object, what: str) -> str | None:
        """Return the keyed digest of *value*'s text; None for None.

        In a mode where content leaves the process, the request holds the text as *what* it was.
        """
        if value is None or self._tracing is None:
            return None
        text = value if isinstance(value, str) else canonical_text(value)
        if len(text) > MAX_DIGESTED:
            self.counter.truncated += 1
            return None
        digest = self._tracing.keyed_digest(text)
        if self._tracing.privacy is not None and self._exchange is not None:
            kind = f"{self.kind}/{self.name}/{self._span_id or ''}/{what}"
            self._exchange.hold(plain.text(kind, plain.MAX_ID, self.counter), text, digest)
        return digest


def _id_of(span: Span) -> str | None:
    """Return the id of *span* as 16 hex digits; None where it is a span of nobody."""
    if type(span) is LeanSpan:
        return span.span_id.hex()
    context = span.get_span_context()
    return f"{context.span_id:016x}" if context.is_valid else None


def canonical_text(value: object) -> str:
    """Return *value* as the text its digest is over: canonical JSON for what JSON can hold."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, Mapping | list | tuple):
        try:
            return canonical_bytes(value).decode()
        except CanonicalFormError:
            return repr(value)
    return str(value)
