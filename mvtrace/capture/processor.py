"""Stamps every span started in a request, whoever starts it, and hands finished spans over.

In: the SDK's calls at the start and end of spans, on the application's threads. Out: request id,
composite version and arm on the open span (so that every exporter sees them), FinishedSpans to the
request's Exchange, or straight to the pipeline where no request is open. Never raises.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from mvtrace import semconv
from mvtrace.capture.context import Exchange, current_exchange
from mvtrace.capture.counts import Counts
from mvtrace.capture.guard import fail_open
from mvtrace.capture.seam import finished_span, is_message_span
from mvtrace.otlp import FinishedSpan

MAX_OPEN_SPANS: Final = 65_536
"""Spans that never end must not hold memory for ever: the oldest are forgotten."""


class _Open(NamedTuple):
    """What is known of a span between its start and its end."""

    exchange: weakref.ref[Exchange]
    stamp: dict[str, str]


class AttributionProcessor(SpanProcessor):
    """Joins spans to the request they were started in, on any number of providers."""

    def __init__(
        self,
        emit_spans: Callable[[Sequence[FinishedSpan]], None],
        force_flush: Callable[[float], bool],
        counts: Counts,
    ) -> None:
        self._emit_spans = emit_spans
        self._force_flush = force_flush
        self._counts = counts
        self._open: dict[int, _Open] = {}
        self.is_closed = False

    @fail_open
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 (the SDK's signature)
        """Stamp *span* if a request is open here."""
        exchange = current_exchange()
        if exchange is None or self.is_closed:
            return
        self.adopt(span, exchange)

    @fail_open
    def adopt(self, span: Span, exchange: Exchange) -> None:
        """Stamp *span*, started before the request was known, as one of *exchange*."""
        stamp = {semconv.REQUEST_ID: exchange.request_id}
        if exchange.composite_version is not None:
            stamp[semconv.COMPOSITE_VERSION] = exchange.composite_version
        if exchange.arm is not None:
            stamp[semconv.ARM] = exchange.arm
            if exchange.flags is not None:
                stamp.update(exchange.flags)
        span.set_attributes(stamp)
        context = span.get_span_context()
        if context is not None:
            self._remember(context.span_id, _Open(weakref.ref(exchange), stamp))

    @fail_open
    def on_end(self, span: ReadableSpan) -> None:
        """Hand *span* to its request, or to the pipeline where that is gone or was never there."""
        if self.is_closed:
            return
        context = span.get_span_context()
        known = self._open.pop(context.span_id, None) if context is not None else None
        if is_message_span(span):
            self._counts.add("spans_dropped_asgi_messages")
            return
        if known is None:
            self._emit_spans((finished_span(span),))
            return
        finished = finished_span(span, known.stamp)
        exchange = known.exchange()
        if exchange is None:
            self._emit_spans((finished,))
        else:
            exchange.add_span(finished)

    def _remember(self, span_id: int, known: _Open) -> None:
        while len(self._open) >= MAX_OPEN_SPANS:
            self._open.pop(next(iter(self._open)), None)
            self._counts.add("spans_forgotten")
        self._open[span_id] = known

    def forget(self) -> None:
        """Drop what was inherited by a fork: the parent's spans end in the parent."""
        self._open = {}

    def shutdown(self) -> None:
        """Do nothing: the provider may end before the pipeline, which ends by itself."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Deliver what has been handed over so far."""
        return bool(fail_open(self._force_flush)(timeout_millis / 1000))
