"""The hand-written OTLP encoder against OpenTelemetry's own protobuf classes."""

from __future__ import annotations

import enum
import math
import struct

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from sink import attributes, plain

from mvtrace import otlp
from mvtrace.otlp import FinishedSpan, LogEvent, Scope, SpanEvent, SpanLink

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = (
    texts
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=12)
    | st.none()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
attribute_maps = st.dictionaries(texts, values, max_size=5)
times = st.integers(0, 2**64 - 1)
counts = st.integers(0, 2**32 - 1)
span_ids = st.binary(min_size=8, max_size=8)
trace_ids = st.binary(min_size=16, max_size=16)
spans = st.builds(
    FinishedSpan,
    trace_id=trace_ids,
    span_id=span_ids,
    parent_span_id=st.just(b"") | span_ids,
    name=texts,
    kind=st.integers(1, 5),
    start_time_unix_nano=times,
    end_time_unix_nano=times,
    attributes=attribute_maps,
    events=st.lists(st.builds(SpanEvent, times, texts, attribute_maps), max_size=3),
    links=st.lists(st.builds(SpanLink, trace_ids, span_ids, attribute_maps), max_size=3),
    status_code=st.integers(0, 2),
    status_message=texts,
    trace_state=texts,
    dropped_attributes=counts,
    dropped_events=counts,
    dropped_links=counts,
    scope=st.just(Scope("")),
)
log_events = st.builds(
    LogEvent,
    name=texts,
    time_unix_nano=times,
    body=texts,
    attributes=attribute_maps,
    trace_id=st.just(b"") | trace_ids,
    span_id=st.just(b"") | span_ids,
)


def decoded_span(message: Span) -> FinishedSpan:
    return FinishedSpan(
        trace_id=message.trace_id,
        span_id=message.span_id,
        parent_span_id=message.parent_span_id,
        name=message.name,
        kind=message.kind,
        start_time_unix_nano=message.start_time_unix_nano,
        end_time_unix_nano=message.end_time_unix_nano,
        attributes=attributes(message),
        events=[SpanEvent(e.time_unix_nano, e.name, attributes(e)) for e in message.events],
        links=[SpanLink(k.trace_id, k.span_id, attributes(k)) for k in message.links],
        status_code=message.status.code,
        status_message=message.status.message,
        trace_state=message.trace_state,
        dropped_attributes=message.dropped_attributes_count,
        dropped_events=message.dropped_events_count,
        dropped_links=message.dropped_links_count,
        scope=Scope(""),
    )


@given(spans)
def test_span_decodes_equal(span: FinishedSpan) -> None:
    """
    The official class reads back every field of every span.
    """
    message = Span.FromString(otlp.encode_span(span))

    assert decoded_span(message) == span


@given(log_events)
def test_log_record_decodes_equal(event: LogEvent) -> None:
    """
    The official class reads back every field of every event.
    """
    message = LogRecord.FromString(otlp.encode_log_record(event))

    assert (
        LogEvent(
            message.event_name,
            message.time_unix_nano,
            plain(message.body),
            attributes(message),
            message.trace_id,
            message.span_id,
        )
        == event
    )
    assert message.observed_time_unix_nano == event.time_unix_nano
    assert message.severity_number == 9


@given(st.integers(0, 2**64 - 1))
def test_varint_has_base_128_groups(number: int) -> None:
    """
    A varint holds seven bits a byte, lowest first, and no byte too many.
    """
    encoded = otlp.varint(number)

    assert sum((byte & 0x7F) << (7 * index) for index, byte in enumerate(encoded)) == number
    assert len(encoded) == max(1, math.ceil(number.bit_length() / 7))


@given(st.floats())
def test_double_keeps_its_bits(number: float) -> None:
    """
    A float is its eight bytes, NaN and negative zero included.
    """
    message = AnyValue.FromString(otlp.encode_value(number))

    assert struct.pack("<d", message.double_value) == struct.pack("<d", number)


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


def test_types_that_derive_from_otlp_types() -> None:
    """
    What derives from a type of OTLP is encoded as that type, and a bool is never an int.
    """
    value = {"level": Level.HIGH, "name": Name("n"), "flag": True, "range": range(2)}

    message = AnyValue.FromString(otlp.encode_value(value))

    assert plain(message) == {"level": 3, "name": "n", "flag": True, "range": [0, 1]}


def test_values_without_an_otlp_form() -> None:
    """
    Integers beyond 64 bits stay exact as text, lone surrogates become '?', and what has no type
    becomes the empty value.
    """
    values = [2**63, -(2**63) - 1, "a\ud800b", object()]

    encoded = [plain(AnyValue.FromString(otlp.encode_value(value))) for value in values]

    assert encoded == ["9223372036854775808", "-9223372036854775809", "a?b", None]


def test_equal_values_of_two_types_stay_apart() -> None:
    """
    What was encoded before under the same key is only taken again for the very same value.
    """
    for value in (1, True, 1.0, 0, False, 0.0, -0.0, "1", "", b""):
        message = Span.FromString(otlp.encode_attributes({"key": value}, 9))

        found = attributes(message)["key"]
        assert (type(found), str(found)) == (type(value), str(value))


@given(st.lists(st.lists(spans, max_size=3), max_size=3), attribute_maps)
def test_scopes_append_to_one_request(batches: list[list[FinishedSpan]], resource: dict) -> None:
    """
    Encoded scopes, put one behind the other, are one request with one resource.
    """
    scope = Scope("scope", "1.2", "https://example.org/schema")
    encoded = [otlp.encode_scope_spans(scope, batch) for batch in batches]

    body = otlp.encode_request(otlp.encode_resource(resource), encoded)

    (found,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert attributes(found.resource) == resource
    assert [[decoded_span(span) for span in part.spans] for part in found.scope_spans] == batches
    for part in found.scope_spans:
        assert (part.scope.name, part.scope.version, part.schema_url) == scope


def test_log_scopes_append_to_one_request() -> None:
    """
    Events of several scopes are one logs request, in their order.
    """
    events = [LogEvent(f"mvtrace.{i}", i, "{}", {}) for i in range(3)]
    encoded = [otlp.encode_scope_logs(Scope("mvtrace"), [event]) for event in events]

    body = otlp.encode_request(b"", encoded)

    (found,) = ExportLogsServiceRequest.FromString(body).resource_logs
    names = [part.log_records[0].event_name for part in found.scope_logs]
    assert names == ["mvtrace.0", "mvtrace.1", "mvtrace.2"]
