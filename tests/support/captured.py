"""What a test's process captured and delivered, as values: records, spans and registry events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._once import Once
from sink import Sink, attributes

from mvtrace.capture.pipeline import Tracing
from mvtrace.records import RequestRecord
from mvtrace.wire import record_of


@dataclass(frozen=True)
class SeenSpan:
    """One delivered span."""

    name: str
    kind: int
    span_id: str
    parent_id: str
    trace_id: str
    attributes: dict[str, Any]
    status: int
    start: int
    end: int


def records_of(sink: Sink) -> list[RequestRecord]:
    """Return every record that was delivered to *sink*, in order."""
    return [
        record_of(log.body.string_value) for log in sink.logs if log.event_name == "mvtrace.request"
    ]


class Captured:
    """Delivers what was captured and reads it back from the sink."""

    def __init__(self, tracing: Tracing, sink: Sink) -> None:
        self.tracing = tracing
        self.sink = sink

    def flush(self) -> None:
        """Deliver everything."""
        if not self.tracing.flush(10):
            raise AssertionError(self.tracing.stats())

    @property
    def all_records(self) -> list[RequestRecord]:
        """Every record that was delivered, in order."""
        self.flush()
        return records_of(self.sink)

    @property
    def records(self) -> list[RequestRecord]:
        """The finished records."""
        return [record for record in self.all_records if record.state == "finished"]

    @property
    def record(self) -> RequestRecord:
        """The one finished record."""
        [record] = self.records
        return record

    @property
    def spans(self) -> list[SeenSpan]:
        """Every span that was delivered."""
        self.flush()
        return [
            SeenSpan(
                name=span.name,
                kind=span.kind,
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                trace_id=span.trace_id.hex(),
                attributes=attributes(span),
                status=span.status.code,
                start=span.start_time_unix_nano,
                end=span.end_time_unix_nano,
            )
            for span in self.sink.spans
        ]

    def span(self, name: str) -> SeenSpan:
        """Return the one span called *name*."""
        [span] = [span for span in self.spans if span.name == name]
        return span


class global_provider:
    """Set the global tracer provider for a block: OpenTelemetry itself allows it once a process."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider

    def __enter__(self) -> TracerProvider:
        trace._TRACER_PROVIDER_SET_ONCE = Once()
        trace.set_tracer_provider(self._provider)
        return self._provider

    def __exit__(self, *_: object) -> None:
        self._provider.shutdown()
        trace._TRACER_PROVIDER = None
        trace._TRACER_PROVIDER_SET_ONCE = Once()
