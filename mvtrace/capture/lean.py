"""Spans of our own for a process that has no OpenTelemetry SDK set up: nobody else would see them.

In: the tracer calls of mvtrace's own instrumentation. Out: FinishedSpans at the seam, at a fifth of
what the SDK's spans cost. No processors, exporters, samplers or limits by environment: where the
application has set a provider, or asks for a sampler, the SDK is used instead.

What was measured: OpenTelemetry's SpanContext, which checks its ids, takes as long to make as all
the rest of a span. Nobody asks most spans for it, so it is made when somebody does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import getrandbits
from time import time_ns
from typing import Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.util.types import Attributes

from mvtrace import semconv
from mvtrace.capture.context import Exchange, current_exchange
from mvtrace.capture.guard import fail_open
from mvtrace.otlp import FinishedSpan, Scope, SpanEvent, SpanLink

MAX_ATTRIBUTES: Final = 256
MAX_EVENTS: Final = 128

_SCOPE: Final = Scope(semconv.SCOPE_NAME)
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {kind: kind.value + 1 for kind in SpanKind}
_NO_SPAN: Final = b""

_UNSET: Final = (0, "")

Emit = Callable[[Sequence[FinishedSpan]], None]


class _Trace(NamedTuple):
    """What all spans of a trace have in common."""

    id: bytes
    flags: TraceFlags
    state: TraceState | None


class LeanSpan(Span):
    """A span that is a dict until it ends."""

    __slots__ = (
        "_attributes",
        "_context",
        "_emit",
        "_end_time",
        "_events",
        "_exchange",
        "_links",
        "_name",
        "_parent_id",
        "_start_time",
        "_status",
        "_trace",
        "kind",
        "span_id",
    )

    def __init__(  # noqa: PLR0913 (all that a span starts with)
        self,
        name: str,
        trace: _Trace,
        parent_id: bytes,
        *,
        kind: SpanKind,
        start_time: int,
        attributes: dict[str, Any],
        emit: Emit,
    ) -> None:
        self.kind = kind
        self.span_id = (getrandbits(64) or 1).to_bytes(8, "big")
        self._name = name
        self._trace = trace
        self._parent_id = parent_id
        self._context: SpanContext | None = None
        self._start_time = start_time
        self._end_time: int | None = None
        self._emit = emit
        self._attributes = attributes
        self._events: list[SpanEvent] | None = None
        self._links: list[SpanLink] | None = None
        self._status = _UNSET
        self._exchange = exchange = current_exchange()
        if exchange is not None:
            _stamp(attributes, exchange)

    def get_span_context(self) -> SpanContext:
        """Return the span's ids."""
        return self._context or self._make_context() or INVALID_SPAN_CONTEXT

    @fail_open
    def _make_context(self) -> SpanContext:
        self._context = context = SpanContext(
            int.from_bytes(self._trace.id, "big"),
            int.from_bytes(self.span_id, "big"),
            is_remote=False,
            trace_flags=self._trace.flags,
            trace_state=self._trace.state,
        )
        return context

    def is_recording(self) -> bool:
        """Whether the span has not ended."""
        return self._end_time is None

    @fail_open
    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Add *attributes*; above the limit of a span they are left out."""
        if self._end_time is None:
            self._attributes.update(attributes)

    @fail_open
    def set_attribute(self, key: str, value: Any) -> None:
        """Add one attribute."""
        if self._end_time is None:
            self._attributes[key] = value

    @fail_open
    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Add a moment."""
        if self._events is None:
            self._events = []
        if len(self._events) < MAX_EVENTS:
            self._events.append(SpanEvent(timestamp or time_ns(), name, attributes or {}))

    @fail_open
    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Refer to a span elsewhere."""
        if self._links is None:
            self._links = []
        if len(self._links) < MAX_EVENTS:
            self._links.append(
                SpanLink(
                    context.trace_id.to_bytes(16, "big"),
                    context.span_id.to_bytes(8, "big"),
                    attributes or {},
                )
            )

    @fail_open
    def update_name(self, name: str) -> None:
        """Replace the name."""
        self._name = name

    @fail_open
    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Replace the status."""
        if isinstance(status, Status):
            self._status = (status.status_code.value, status.description or "")
        else:
            self._status = (status.value, description or "")

    @fail_open
    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: ARG002, FBT001, FBT002 (OpenTelemetry's signature)
    ) -> None:
        """Add the type of *exception*; its message may be content."""
        found = {"exception.type": type(exception).__qualname__, **(attributes or {})}
        self.add_event("exception", found, timestamp)

    @fail_open
    def end(self, end_time: int | None = None) -> None:
        """Hand the span to its request, or to the pipeline where it has none."""
        if self._end_time is not None:
            return
        self._end_time = end_time or time_ns()
        finished = self._finished()
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            self._emit((finished,))
        else:
            exchange.add_span(finished)

    def _finished(self) -> FinishedSpan:
        attributes = self._attributes
        dropped = len(attributes) - MAX_ATTRIBUTES
        if dropped > 0:
            attributes = dict(list(attributes.items())[:MAX_ATTRIBUTES])
        trace = self._trace
        code, message = self._status
        return FinishedSpan(
            trace.id,
            self.span_id,
            self._parent_id,
            self._name,
            _KINDS[self.kind],
            self._start_time,
            self._end_time or self._start_time,
            attributes,
            self._events or (),
            self._links or (),
            code,
            message,
            trace.state.to_header() if trace.state else "",
            max(0, dropped),
            0,
            0,
            _SCOPE,
        )


class LeanTracer(trace.Tracer):
    """Starts lean spans, stamped with the request they belong to."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def start_span(  # noqa: PLR0913, PLR0917 (OpenTelemetry's signature)
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: ARG002, FBT001, FBT002
        set_status_on_exception: bool = True,  # noqa: ARG002, FBT001, FBT002
    ) -> LeanSpan:
        """Return a span below the one of *context*, which defaults to the current one."""
        above = trace.get_current_span(context)
        if type(above) is LeanSpan:
            of_trace, parent_id = above._trace, above.span_id  # noqa: SLF001 (its own kind)
        else:
            of_trace, parent_id = _below(above.get_span_context())
        span = LeanSpan(
            name,
            of_trace,
            parent_id,
            kind=kind,
            start_time=start_time or time_ns(),
            attributes=dict(attributes) if attributes else {},
            emit=self._emit,
        )
        if links:
            for link in links:
                span.add_link(link.context, link.attributes)
        return span

    @contextmanager
    def start_as_current_span(  # type: ignore[override]  # noqa: PLR0913, PLR0917 (its signature)
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: FBT001, FBT002
        set_status_on_exception: bool = True,  # noqa: FBT001, FBT002
        end_on_exit: bool = True,  # noqa: FBT001, FBT002
    ) -> Iterator[Span]:
        """Start a span and make it the current one for a block."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ) as current:
            yield current


def _below(above: SpanContext) -> tuple[_Trace, bytes]:
    """Return the trace and the parent of a span below *above*; a new trace where it is none."""
    if not above.is_valid:
        return _Trace((getrandbits(128) or 1).to_bytes(16, "big"), _SAMPLED, None), _NO_SPAN
    trace_id, parent_id = above.trace_id.to_bytes(16, "big"), above.span_id.to_bytes(8, "big")
    return _Trace(trace_id, above.trace_flags, above.trace_state), parent_id


def _stamp(attributes: dict[str, Any], exchange: Exchange) -> None:
    attributes[semconv.REQUEST_ID] = exchange.request_id
    if exchange.composite_version is not None:
        attributes[semconv.COMPOSITE_VERSION] = exchange.composite_version
    if exchange.arm is not None:
        attributes[semconv.ARM] = exchange.arm
        if exchange.flags is not None:
            attributes.update(exchange.flags)
