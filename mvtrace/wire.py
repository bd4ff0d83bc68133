"""RequestRecord <-> the event that carries it; both halves side by side.

Law: ``record_of(event_of(record).body) == record``, and the body's bytes are the record's.
"""

from __future__ import annotations

from mvtrace import semconv
from mvtrace.otlp import LogEvent
from mvtrace.records import RequestRecord


def event_of(record: RequestRecord) -> LogEvent:
    """Return the ``mvtrace.request`` event: the canonical bytes as body, ids as attributes."""
    return LogEvent(
        name=semconv.EVENT_REQUEST,
        time_unix_nano=record.ended_at or record.started_at,
        body=record.to_bytes().decode(),
        attributes={
            semconv.REQUEST_ID: record.request_id,
            semconv.RECORD_REVISION: record.revision,
            semconv.PRODUCER_ID: record.producer_id,
            semconv.PRODUCER_SEQUENCE: record.sequence,
        },
        trace_id=bytes.fromhex(record.trace_id) if record.trace_id else b"",
        span_id=bytes.fromhex(record.span_id) if record.span_id else b"",
    )


def record_of(body: str | bytes) -> RequestRecord:
    """Return the record of an event's *body*.

    Raises:
        ValueError: the body is not a request record.
    """
    return RequestRecord.from_bytes(body)
