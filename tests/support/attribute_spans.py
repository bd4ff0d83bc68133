"""Spans of plain dictionaries of attributes: made, loaded into a store, and read back."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from oracle import Batch, write_segment

from mvtrace.capture.seam import Cleaned
from mvtrace.otlp import FinishedSpan
from mvtrace.store import Store
from mvtrace_collector.loader import load_segment

CALL_COLUMNS = (
    "operation",
    "provider",
    "model_requested",
    "model_served",
    "response_id",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "finish_reason",
    "conversation_id",
    "tool_name",
    "prompt_name",
    "prompt_version",
    "fingerprint",
    "seed",
    "sampling",
    "documents",
)


def any_value(value: Any) -> AnyValue:
    """Return *value* as OTLP has it."""
    made = AnyValue()
    if isinstance(value, Mapping):
        made.kvlist_value.SetInParent()
        for key, item in value.items():
            made.kvlist_value.values.add(key=key).value.CopyFrom(any_value(item))
    elif isinstance(value, list | tuple):
        made.array_value.SetInParent()
        made.array_value.values.extend(map(any_value, value))
    elif isinstance(value, bool):
        made.bool_value = value
    elif value is not None:
        setattr(
            made, {str: "string_value", int: "int_value", float: "double_value"}[type(value)], value
        )
    return made


def exported(spans: Sequence[Mapping[str, Any]]) -> ExportTraceServiceRequest:
    """Return an export of a span for each of *spans*, in a trace of its own, named by its number."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number, attributes in enumerate(spans):
        now = time.time_ns()
        span = scope.spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name=str(number))
        span.start_time_unix_nano, span.end_time_unix_nano = now, now
        for key, value in attributes.items():
            span.attributes.add(key=key).value.CopyFrom(any_value(value))
    return request


def cleaned(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a span as they leave a process that has mvtrace in it."""
    span = FinishedSpan(
        trace_id=b"t" * 16,
        span_id=b"s" * 8,
        parent_span_id=b"",
        name="",
        kind=1,
        start_time_unix_nano=1,
        end_time_unix_nano=2,
        attributes=attributes,
    )
    return dict(Cleaned(span).span.attributes)


def load(store: Store, folder: Path, spans: Sequence[Mapping[str, Any]]) -> None:
    """Store *spans*."""
    batch = Batch(exported(spans), time.time_ns() // 10**6)
    load_segment(store, write_segment(folder / os.urandom(4).hex(), [batch]))


def filled(store: Store) -> list[dict[str, Any]]:
    """Return which columns of a call each span fills, and with what, in the order of the spans."""
    rows = store.query(
        f"SELECT {', '.join(CALL_COLUMNS)} FROM spans ORDER BY toUInt32(name)"
    ).dicts()
    return [
        {name: plain(value) for name, value in row.items() if value not in (None, {}, [])}
        for row in rows
    ]


def plain(value: Any) -> Any:
    """Return documents as pairs, all else as it is."""
    if isinstance(value, list | tuple):
        return [tuple(one.values()) if isinstance(one, dict) else tuple(one) for one in value]
    return value
