"""OTLP/JSON by law: any message goes through it unchanged, any JSON is taken or refused."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from mvtrace_collector.errors import UndecodableError
from mvtrace_collector.otlp_json import logs_from_json, traces_from_json

MANY = 1_000_000


def traces(body: object) -> ExportTraceServiceRequest:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ExportTraceServiceRequest.FromString(traces_from_json(text, max_containers=MANY))


def logs(body: object) -> ExportLogsServiceRequest:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ExportLogsServiceRequest.FromString(logs_from_json(text, max_containers=MANY))


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
SCALARS = st.one_of(
    st.builds(AnyValue),
    st.builds(AnyValue, string_value=TEXTS),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=st.floats(allow_nan=False)),
    st.builds(AnyValue, bytes_value=st.binary(max_size=9)),
)


def _nested(children: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    pairs = st.lists(st.builds(KeyValue, key=TEXTS, value=children), max_size=3)
    return st.one_of(
        st.lists(children, max_size=3).map(lambda values: AnyValue(array_value={"values": values})),  # type: ignore[arg-type]
        pairs.map(lambda values: AnyValue(kvlist_value={"values": values})),  # type: ignore[arg-type]
    )


VALUES = st.recursive(SCALARS, _nested, max_leaves=6)
ATTRIBUTES = st.lists(st.builds(KeyValue, key=TEXTS, value=VALUES), max_size=4)
SPANS = st.builds(
    Span,
    trace_id=st.binary(max_size=20),
    span_id=st.binary(max_size=9),
    parent_span_id=st.binary(max_size=9),
    trace_state=TEXTS,
    name=TEXTS,
    kind=st.integers(0, 5),
    start_time_unix_nano=U64,
    end_time_unix_nano=U64,
    attributes=ATTRIBUTES,
    dropped_attributes_count=U32,
    events=st.lists(
        st.builds(Span.Event, time_unix_nano=U64, name=TEXTS, attributes=ATTRIBUTES), max_size=2
    ),
    links=st.lists(
        st.builds(Span.Link, trace_id=st.binary(max_size=16), flags=U32, attributes=ATTRIBUTES),
        max_size=2,
    ),
    flags=U32,
)
RECORDS = st.builds(
    LogRecord,
    time_unix_nano=U64,
    observed_time_unix_nano=U64,
    severity_number=st.integers(0, 24),
    severity_text=TEXTS,
    event_name=TEXTS,
    body=VALUES,
    attributes=ATTRIBUTES,
    trace_id=st.binary(max_size=16),
    span_id=st.binary(max_size=8),
)


def otlp_json(message: Any) -> bytes:
    """Write *message* as OTLP/JSON: protobuf's own mapping, with hex ids."""

    def mend(value: Any) -> Any:
        if isinstance(value, list):
            return [mend(item) for item in value]
        if isinstance(value, dict):
            return {
                name: base64.b64decode(item).hex()
                if name in {"traceId", "spanId", "parentSpanId"}
                else mend(item)
                for name, item in value.items()
            }
        return value

    return json.dumps(
        mend(json_format.MessageToDict(message, use_integers_for_enums=True))
    ).encode()


@given(st.lists(SPANS, max_size=3), ATTRIBUTES, TEXTS)
@settings(max_examples=150, deadline=None)
def test_traces_give_the_message_they_were_made_from(
    spans: list[Span], attributes: list[KeyValue], name: str
) -> None:
    """
    traces_from_json(json_of(message)) is the message, with protobuf's own JSON writer as oracle.
    """
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.extend(attributes)
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = name
    scope_spans.spans.extend(spans)

    assert traces(otlp_json(request)) == request


@given(st.lists(RECORDS, max_size=3))
@settings(max_examples=100, deadline=None)
def test_logs_give_the_message_they_were_made_from(records: list[LogRecord]) -> None:
    """
    logs_from_json(json_of(message)) is the message, with protobuf's own JSON writer as oracle.
    """
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.extend(records)

    assert logs(otlp_json(request)) == request


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 2**65),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXTS,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "resourceSpans",
                    "scopeSpans",
                    "spans",
                    "attributes",
                    "key",
                    "value",
                    "intValue",
                    "events",
                    "kind",
                    "status",
                    "traceId",
                    "arrayValue",
                    "values",
                    "resource",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(JSON_VALUES)
@settings(max_examples=300, deadline=None)
def test_any_json_is_taken_or_refused(value: object) -> None:
    """
    Whatever the JSON, the outcome is bytes that protobuf parses or an UndecodableError.
    """
    body = json.dumps({"resourceSpans": value}).encode()
    with contextlib.suppress(UndecodableError):
        encoded = traces_from_json(body, max_containers=MANY)
        assert ExportTraceServiceRequest.FromString(encoded).ByteSize() <= len(encoded)
