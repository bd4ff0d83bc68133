"""OTLP/JSON against protobuf's own reader of JSON, with hypothesis; tells how the two differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import json_oracle
import orjson
import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from mvtrace_collector.errors import IngestError
from mvtrace_collector.otlp_json import logs_from_json, traces_from_json

SIGNALS = {
    "traces": (traces_from_json, ExportTraceServiceRequest),
    "logs": (logs_from_json, ExportLogsServiceRequest),
}
NAMES = st.sampled_from(
    [
        *(
            "resourceSpans",
            "resourceLogs",
            "scopeSpans",
            "scopeLogs",
            "spans",
            "logRecords",
            "scope",
        ),
        *("resource", "attributes", "key", "value", "stringValue", "intValue", "doubleValue"),
        *("boolValue", "bytesValue", "arrayValue", "kvlistValue", "values", "events", "links"),
        *(
            "kind",
            "status",
            "code",
            "traceId",
            "spanId",
            "startTimeUnixNano",
            "flags",
            "body",
            "name",
        ),
        *("trace_id", "eventName", "severityNumber", "droppedAttributesCount", "entityRefs", "x"),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(
        ["NaN", "-Infinity", "5", "-5", "007", " 5", "5 ", "+5", "1e3", "1_0", "AAE=", "ab" * 16]
    ),
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=15,
)
VALUE = st.one_of(
    st.dictionaries(st.sampled_from(["stringValue", "intValue", "doubleValue", "boolValue", "bytesValue"]), LEAVES, max_size=2),
    st.builds(lambda items: {"arrayValue": {"values": items}}, st.lists(st.dictionaries(st.just("intValue"), LEAVES, max_size=1), max_size=2)),
)  # fmt: skip
ATTRIBUTES = st.lists(st.fixed_dictionaries({"key": LEAVES, "value": VALUE}), max_size=3)
FIELDS = st.fixed_dictionaries(
    {"attributes": ATTRIBUTES},
    optional={
        **dict.fromkeys(("traceId", "spanId", "name", "kind", "startTimeUnixNano"), LEAVES),
        **dict.fromkeys(("flags", "droppedAttributesCount", "eventName", "severityNumber"), LEAVES),
        "status": st.dictionaries(st.sampled_from(["code", "message"]), LEAVES),
        "body": VALUE,
        "events": st.lists(st.dictionaries(NAMES, LEAVES, max_size=3), max_size=2),
    },
)


def whole(signal: str, item: object) -> object:
    """An export with one span or record."""
    inner = {"traces": "spans", "logs": "logRecords"}[signal]
    noun = {"traces": "Spans", "logs": "Logs"}[signal]
    return {f"resource{noun}": [{f"scope{noun}": [{inner: [item]}]}]}


def agree(signal: str, document: object) -> None:
    """Refused as a bad request, or the message that protobuf makes of the same."""
    convert: Callable[..., bytes]
    kind: type[Message]
    convert, kind = SIGNALS[signal]
    body = json.dumps(document, allow_nan=False).encode()
    try:
        encoded = convert(body, max_containers=10_000)
    except IngestError as error:
        assert error.status in (400, 413)  # noqa: PT017
        return
    found = kind()
    try:
        found.ParseFromString(encoded)
    except DecodeError:
        pytest.fail("what was written is no message")
    expected = json_oracle.expected(kind, orjson.loads(body))
    assert found.SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )


@pytest.mark.parametrize("signal", SIGNALS)
@given(document=ANYTHING)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_means_what_protobuf_says_or_is_refused(signal: str, document: object) -> None:
    """
    No JSON ends in an error of the server, and none is taken for something else than it says.
    """
    agree(signal, document)


@pytest.mark.parametrize("signal", SIGNALS)
@given(item=FIELDS)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_odd_fields_mean_what_protobuf_says_or_are_refused(signal: str, item: Any) -> None:
    """
    The same for exports of the right shape whose fields hold anything.
    """
    agree(signal, whole(signal, item))


@pytest.mark.parametrize(
    "field",
    [
        {"kind": "SPAN_KIND_SERVER"},
        {"startTimeUnixNano": "1e3"},
        {"startTimeUnixNano": "+5"},
        {"startTimeUnixNano": "1_000"},
    ],
)
def test_what_is_stricter_here(field: dict[str, object]) -> None:
    """
    The difference that is not compared: protobuf takes these, OTLP/JSON does not know them.
    """
    convert, _ = SIGNALS["traces"]
    with pytest.raises(IngestError):
        convert(json.dumps(whole("traces", field)).encode(), max_containers=100)
