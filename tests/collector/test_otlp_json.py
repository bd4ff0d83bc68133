"""OTLP/JSON by example: each form the specification names, each refusal with its place."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from mvtrace_collector.errors import TooLargeError, UndecodableError
from mvtrace_collector.otlp_json import logs_from_json, traces_from_json

MANY = 1_000_000
TRACE_ID, SPAN_ID = "5B8EFFF798038103D269B633813FC60C", "EEE19B7EC3C1B174"


def traces(body: object) -> ExportTraceServiceRequest:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ExportTraceServiceRequest.FromString(traces_from_json(text, max_containers=MANY))


def logs(body: object) -> ExportLogsServiceRequest:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ExportLogsServiceRequest.FromString(logs_from_json(text, max_containers=MANY))


def span_of(**fields: object) -> Span:
    request = traces({"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]})
    return request.resource_spans[0].scope_spans[0].spans[0]


def value_of(value: object) -> AnyValue:
    return span_of(attributes=[{"key": "k", "value": value}]).attributes[0].value


def refusal(**fields: object) -> str:
    with pytest.raises(UndecodableError) as caught:
        span_of(**fields)
    return caught.value.message


def test_a_whole_trace_in_the_shape_of_the_specification() -> None:
    """
    Ids are hex in any case, times are text or numbers, enums are integers, names lowerCamelCase.
    """
    request = traces(
        {
            "resourceSpans": [
                {
                    "resource": {
                        "attributes": [
                            {"key": "service.name", "value": {"stringValue": "my.service"}}
                        ],
                        "droppedAttributesCount": 1,
                    },
                    "scopeSpans": [
                        {
                            "scope": {
                                "name": "my.library",
                                "version": "1.0.0",
                                "attributes": [
                                    {"key": "a", "value": {"stringValue": "some scope attribute"}}
                                ],
                            },
                            "spans": [
                                {
                                    "traceId": TRACE_ID,
                                    "spanId": SPAN_ID.lower(),
                                    "parentSpanId": "EEE19B7EC3C1B173",
                                    "traceState": "a=b",
                                    "flags": 257,
                                    "name": "I'm a server span",
                                    "startTimeUnixNano": "1544712660000000000",
                                    "endTimeUnixNano": 1544712661000000000,
                                    "kind": 2,
                                    "attributes": [
                                        {"key": "n", "value": {"intValue": "-9223372036854775808"}},
                                        {"key": "m", "value": {"intValue": 7}},
                                    ],
                                    "events": [
                                        {
                                            "timeUnixNano": "1",
                                            "name": "e",
                                            "attributes": [],
                                            "droppedAttributesCount": 2,
                                        }
                                    ],
                                    "links": [
                                        {
                                            "traceId": TRACE_ID,
                                            "spanId": SPAN_ID,
                                            "traceState": "x=y",
                                            "attributes": [
                                                {"key": "l", "value": {"boolValue": False}}
                                            ],
                                            "flags": 1,
                                        }
                                    ],
                                    "droppedEventsCount": 3,
                                    "droppedLinksCount": 4,
                                    "status": {"code": 2, "message": "no"},
                                }
                            ],
                            "schemaUrl": "scope-url",
                        }
                    ],
                    "schemaUrl": "resource-url",
                }
            ]
        }
    )

    expected = ExportTraceServiceRequest()
    resource_spans = expected.resource_spans.add(schema_url="resource-url")
    resource_spans.resource.attributes.add(key="service.name").value.string_value = "my.service"
    resource_spans.resource.dropped_attributes_count = 1
    scope_spans = resource_spans.scope_spans.add(schema_url="scope-url")
    scope_spans.scope.name, scope_spans.scope.version = "my.library", "1.0.0"
    scope_spans.scope.attributes.add(key="a").value.string_value = "some scope attribute"
    span = scope_spans.spans.add(
        trace_id=bytes.fromhex(TRACE_ID),
        span_id=bytes.fromhex(SPAN_ID),
        parent_span_id=bytes.fromhex("EEE19B7EC3C1B173"),
        trace_state="a=b",
        flags=257,
        name="I'm a server span",
        start_time_unix_nano=1544712660000000000,
        end_time_unix_nano=1544712661000000000,
        kind=Span.SPAN_KIND_SERVER,
        dropped_events_count=3,
        dropped_links_count=4,
    )
    span.attributes.add(key="n").value.int_value = -(2**63)
    span.attributes.add(key="m").value.int_value = 7
    span.events.add(time_unix_nano=1, name="e", dropped_attributes_count=2)
    link = span.links.add(
        trace_id=bytes.fromhex(TRACE_ID),
        span_id=bytes.fromhex(SPAN_ID),
        trace_state="x=y",
        flags=1,
    )
    link.attributes.add(key="l").value.bool_value = False
    span.status.code, span.status.message = Status.STATUS_CODE_ERROR, "no"
    assert request == expected


def test_a_log_record() -> None:
    """
    A log record keeps its body, its name and its ids.
    """
    request = logs(
        {
            "resourceLogs": [
                {
                    "scopeLogs": [
                        {
                            "logRecords": [
                                {
                                    "timeUnixNano": "5",
                                    "observedTimeUnixNano": 6,
                                    "severityNumber": 10,
                                    "severityText": "Information",
                                    "eventName": "mvtrace.request",
                                    "traceId": TRACE_ID,
                                    "spanId": SPAN_ID,
                                    "flags": 1,
                                    "body": {"stringValue": "{}"},
                                    "droppedAttributesCount": 1,
                                    "attributes": [
                                        {"key": "b", "value": {"bytesValue": "AAEC/w=="}}
                                    ],
                                }
                            ]
                        }
                    ]
                }
            ]
        }
    )

    (record,) = request.resource_logs[0].scope_logs[0].log_records
    expected = LogRecord(
        time_unix_nano=5,
        observed_time_unix_nano=6,
        severity_number=10,  # type: ignore[arg-type]
        severity_text="Information",
        event_name="mvtrace.request",
        trace_id=bytes.fromhex(TRACE_ID),
        span_id=bytes.fromhex(SPAN_ID),
        flags=1,
        body=AnyValue(string_value="{}"),
        dropped_attributes_count=1,
        attributes=[KeyValue(key="b", value=AnyValue(bytes_value=b"\x00\x01\x02\xff"))],
    )
    assert record == expected


@pytest.mark.parametrize(
    ("json_value", "expected"),
    [
        ({}, AnyValue()),
        ({"stringValue": ""}, AnyValue(string_value="")),
        ({"stringValue": "a\u0000\U0001f600"}, AnyValue(string_value="a\u0000\U0001f600")),
        ({"boolValue": False}, AnyValue(bool_value=False)),
        ({"intValue": "0"}, AnyValue(int_value=0)),
        ({"intValue": 0}, AnyValue(int_value=0)),
        ({"intValue": -1}, AnyValue(int_value=-1)),
        ({"intValue": 5.0}, AnyValue(int_value=5)),
        ({"intValue": "9223372036854775807"}, AnyValue(int_value=2**63 - 1)),
        ({"intValue": 1e21}, AnyValue(double_value=1e21)),
        ({"intValue": 2**63}, AnyValue(double_value=2.0**63)),
        ({"doubleValue": 0}, AnyValue(double_value=0.0)),
        ({"doubleValue": 1.5}, AnyValue(double_value=1.5)),
        ({"doubleValue": "1.5e3"}, AnyValue(double_value=1500.0)),
        ({"doubleValue": "Infinity"}, AnyValue(double_value=math.inf)),
        ({"doubleValue": "-Infinity"}, AnyValue(double_value=-math.inf)),
        ({"bytesValue": "_-8"}, AnyValue(bytes_value=b"\xff\xef")),
        ({"arrayValue": {}}, AnyValue(array_value={})),  # type: ignore[arg-type]
        ({"stringValue": None, "intValue": 3}, AnyValue(int_value=3)),
        ({"unknownValue": 1, "intValue": 3}, AnyValue(int_value=3)),
    ],
)
def test_values(json_value: object, expected: AnyValue) -> None:
    """
    Each form of a value gives the same message; an empty text, zero and false stay what they are.
    """
    value = value_of(json_value)

    assert value == expected
    assert value.WhichOneof("value") == expected.WhichOneof("value")


def test_not_a_number_is_a_number() -> None:
    """
    "NaN" as text is a double.
    """
    assert math.isnan(value_of({"doubleValue": "NaN"}).double_value)


def test_unknown_null_and_missing_fields() -> None:
    """
    Unknown names (snake_case too) and null are passed over; a missing kind is 0; of a repeated name
    the last one counts.
    """
    span = span_of(
        name="n", trace_id="00", future={"a": [1]}, kind=None, attributes=None, status=None
    )
    twice = traces(b'{"resourceSpans": [{"schemaUrl": "a", "schemaUrl": "b"}]}')

    assert span == Span(name="n")
    assert span.kind == 0
    assert twice.resource_spans[0].schema_url == "b"
    assert traces({}) == ExportTraceServiceRequest()


@pytest.mark.parametrize(
    "text", ["xyz", "abc", "W47/95gDgQPSabYzgT/GDA==", "é" * 16, "0" * 66, " " * 32]
)
def test_an_id_that_is_not_hex_has_a_length_no_check_passes(text: str) -> None:
    """
    Such a span can be rejected alone, without its batch.
    """
    assert span_of(traceId=text).trace_id == b"\x00"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"kind": "SPAN_KIND_SERVER"},
            "kind: 'SPAN_KIND_SERVER' is not an enum's integer (its name is no OTLP/JSON).",
        ),
        ({"kind": 2**31}, "kind: 2147483648 is not an integer from -2147483648 to 2147483647."),
        ({"kind": True}, "kind: True is not an integer from -2147483648 to 2147483647."),
        ({"name": 5}, "name: 5 is not text."),
        ({"traceId": 5}, "traceId: 5 is not hex text."),
        (
            {"startTimeUnixNano": -1},
            "startTimeUnixNano: -1 is not an integer from 0 to 18446744073709551615.",
        ),
        (
            {"startTimeUnixNano": 2**64},
            "startTimeUnixNano: 1.8446744073709552e+19 is not an integer from 0 to 18446744073709551615.",
        ),
        (
            {"startTimeUnixNano": "1_000"},
            "startTimeUnixNano: '1_000' is not an integer from 0 to 18446744073709551615.",
        ),
        (
            {"startTimeUnixNano": 1.5},
            "startTimeUnixNano: 1.5 is not an integer from 0 to 18446744073709551615.",
        ),
        (
            {"droppedEventsCount": 2**32},
            "droppedEventsCount: 4294967296 is not an integer from 0 to 4294967295.",
        ),
        ({"attributes": {"a": 1}}, "attributes: {'a': 1} is not an array."),
        ({"attributes": [5]}, "attributes[0]: 5 is not an object with key and value."),
        (
            {"attributes": [{"key": 5}]},
            "attributes[0]: {'key': 5} is not an object whose key is text.",
        ),
        (
            {"attributes": [{"key": "a", "value": "b"}]},
            "attributes[0].value: 'b' is not an AnyValue object.",
        ),
        (
            {"attributes": [{"key": "a", "value": {"intValue": "x"}}]},
            "attributes[0].value.intValue: 'x' is not an integer from -9223372036854775808 to 9223372036854775807.",
        ),
        (
            {"attributes": [{"key": "a", "value": {"boolValue": "true"}}]},
            "attributes[0].value.boolValue: 'true' is not true or false.",
        ),
        (
            {"attributes": [{"key": "a", "value": {"doubleValue": "nan"}}]},
            "attributes[0].value.doubleValue: 'nan' is not a number.",
        ),
        (
            {"attributes": [{"key": "a", "value": {"doubleValue": "1e400"}}]},
            "attributes[0].value.doubleValue: '1e400' is not a number.",
        ),
        (
            {"attributes": [{"key": "a", "value": {"bytesValue": "!"}}]},
            "attributes[0].value.bytesValue: '!' is not base64 text.",
        ),
        (
            {"attributes": [{"key": "a", "value": {"intValue": 1, "stringValue": ""}}]},
            "attributes[0].value: ['intValue', 'stringValue'] is not one value.",
        ),
        (
            {"attributes": [{"key": "a", "value": {"arrayValue": {"values": [{}, 7]}}}]},
            "attributes[0].value.arrayValue.values[1]: 7 is not an AnyValue object.",
        ),
        (
            {"attributes": [{"key": "a", "value": {"kvlistValue": []}}]},
            "attributes[0].value.kvlistValue: [] is not an object with an array of values.",
        ),
        (
            {"events": [{"timeUnixNano": "now"}]},
            "events[0].timeUnixNano: 'now' is not an integer from 0 to 18446744073709551615.",
        ),
        ({"status": []}, "status: [] is not an object."),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(fields: dict[str, Any], message: str) -> None:
    """
    The message names the path, the value and what is taken there.
    """
    assert refusal(**fields) == f"At resourceSpans[0].scopeSpans[0].spans[0].{message}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"5",
        b"{",
        b"\xef\xbb\xbf{}",
        '{"resourceSpans": []}'.encode("utf-16"),
        b'{"resourceSpans": [{"schemaUrl": "\xff"}]}',
        b'{"resourceSpans": [{"schemaUrl": "\\ud800"}]}',
        b'{"resourceSpans": NaN}',
        b'{"resourceSpans": 1e400}',
        b'{"resourceSpans": "x"}',
        b'{"resourceSpans": [[]]}',
        b'{"resourceSpans": [' + b"[" * 1_000 + b"]" * 1_000 + b"]}",
        b'{"resourceSpans": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_json_or_no_object_is_refused(body: bytes) -> None:
    """
    Each is an UndecodableError, whatever its depth or encoding.
    """
    with pytest.raises(UndecodableError):
        traces(body)


def test_too_many_objects_are_refused_before_they_are_made() -> None:
    """
    A body of a million small objects is refused by counting its brackets.
    """
    with pytest.raises(TooLargeError) as caught:
        traces_from_json(b'{"x": [' + b"{}," * 50 + b"{}]}", max_containers=50)

    assert caught.value.message == (
        "The JSON body is over the limit of 50 objects and arrays; send smaller batches."
    )


@pytest.mark.parametrize("depth", [10, 40, 200, 250])
def test_deep_values_end_in_an_error_or_a_message(depth: int) -> None:
    """
    A deeply nested value is taken as protobuf's parser takes it, or refused; never a crash.
    """
    value: dict[str, object] = {"stringValue": "x"}
    for _ in range(depth):
        value = {"arrayValue": {"values": [value]}}
    body = {"resourceSpans": [{"resource": {"attributes": [{"key": "k", "value": value}]}}]}

    if depth <= 64:
        assert traces_from_json(json.dumps(body).encode(), max_containers=MANY)
    else:
        with pytest.raises(UndecodableError):
            traces(body)
