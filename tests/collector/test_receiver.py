"""OTLP over HTTP: what is taken in each encoding, split by project, refused with a reason."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from receiving import GOOD, JSON, PROTOBUF, a_trace, app_of, post, some_logs, stored
from starlette.testclient import TestClient

from mvtrace_collector.inbox import Inbox
from mvtrace_collector.limits import Limits
from mvtrace_collector.metrics import Metrics
from mvtrace_collector.receiver import Gate


def test_traces_in_protobuf_are_kept_byte_for_byte(client: TestClient, inbox: Inbox) -> None:
    """
    A good export is answered with an empty message and lies in the inbox unchanged.
    """
    request = a_trace(spans=3)
    response = post(client, "/v1/traces", request.SerializeToString())

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == PROTOBUF
    assert stored(inbox) == [("default", request)]


def test_traces_in_json(client: TestClient, inbox: Inbox) -> None:
    """
    The same export in JSON lies in the inbox as the same message, and is answered in JSON.
    """
    span = {"traceId": "01" * 16, "spanId": "0000000000000001", "name": "span 1"}
    body = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [span]}]}]}

    response = post(
        client,
        "/v1/traces",
        json.dumps(body).encode(),
        content_type="Application/JSON; charset=UTF-8",
    )

    expected = a_trace()
    expected.resource_spans[0].resource.SetInParent()
    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["content-type"] == JSON
    assert stored(inbox) == [("default", expected)]


def test_logs_in_both_encodings(client: TestClient, inbox: Inbox) -> None:
    """
    Log records with names the store knows are kept, in protobuf and in JSON.
    """
    request = some_logs(("mvtrace.request", "{}"), ("gen_ai.evaluation.result", ""))
    text = {
        "resourceLogs": [
            {
                "scopeLogs": [
                    {
                        "logRecords": [
                            {"eventName": "mvtrace.request", "body": {"stringValue": "{}"}},
                            {"eventName": "gen_ai.evaluation.result", "body": {"stringValue": ""}},
                        ]
                    }
                ]
            }
        ]
    }
    binary = post(client, "/v1/logs", request.SerializeToString())
    in_json = post(client, "/v1/logs", json.dumps(text).encode(), content_type=JSON)

    assert (binary.status_code, binary.content) == (200, b"")
    assert (in_json.status_code, in_json.json()) == (200, {})
    assert stored(inbox) == [("default", request)] * 2


@pytest.mark.parametrize(
    ("encoding", "squeeze"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
    ],
)
def test_compressed_bodies(client: TestClient, inbox: Inbox, encoding: str, squeeze: Any) -> None:
    """
    gzip, deflate and identity are read.
    """
    request = a_trace(spans=500)
    response = post(
        client, "/v1/traces", squeeze(request.SerializeToString()), content_encoding=encoding
    )

    assert response.status_code == 200
    assert stored(inbox) == [("default", request)]


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
@pytest.mark.parametrize(("media", "body"), [(PROTOBUF, b""), (JSON, b"{}")])
def test_an_empty_export_succeeds(
    client: TestClient, inbox: Inbox, path: str, media: str, body: bytes
) -> None:
    """
    Nothing sent is nothing to keep: 200, and the inbox stays empty.
    """
    response = post(client, path, body, content_type=media)

    assert response.status_code == 200
    assert inbox.lag().accepted_seq == 0


@pytest.mark.parametrize(
    "case",
    [
        ("GET", {}, b"", 405, (12, "GET is not an export; POST is.")),
        ("HEAD", {}, b"", 405, (12, None)),
        ("OPTIONS", {}, b"", 405, (12, "OPTIONS is not an export; POST is.")),
        ("PUT", {}, GOOD, 405, (12, "PUT is not an export; POST is.")),
        ("POST", {"content-type": "text/html"}, GOOD, 415, (3, "Content-Type is 'text/html'; expected is application/x-protobuf or application/json in UTF-8.")),
        ("POST", {"content-type": ""}, GOOD, 415, (3, "Content-Type is ''; expected is application/x-protobuf or application/json in UTF-8.")),
        ("POST", {"content-type": f"{JSON}; charset=utf-16"}, b"{}", 415, (3, "Content-Type is 'application/json; charset=utf-16'; expected is application/x-protobuf or application/json in UTF-8.")),
        ("POST", {"content-encoding": "br"}, GOOD, 415, (3, "Content-Encoding is 'br'; expected is gzip, deflate or identity.")),
        ("POST", {"content-encoding": "gzip, gzip"}, GOOD, 415, (3, "Content-Encoding is 'gzip, gzip'; expected is gzip, deflate or identity.")),
        ("POST", {"content-encoding": "gzip"}, GOOD, 400, (3, "The compressed body is damaged: Error -3 while decompressing data: incorrect header check.")),
        ("POST", {"content-encoding": "gzip"}, gzip.compress(GOOD)[:-9], 400, (3, "The compressed body ends too early.")),
        ("POST", {"content-encoding": "gzip"}, gzip.compress(GOOD) + b"x", 400, (3, "Bytes follow the end of the compressed body.")),
        ("POST", {"content-encoding": "gzip"}, gzip.compress(gzip.compress(GOOD)), 400, (3, None)),
        ("POST", {}, b"\xff\xff\xff", 400, (3, None)),
        ("POST", {}, GOOD[:-3], 400, (3, None)),
        ("POST", {}, GOOD.replace(b"span 1", b"span \xff"), 400, (3, None)),
        ("POST", {"content-type": JSON}, b"{", 400, (3, "The body is not JSON: unexpected end of data: line 1 column 2 (char 1).")),
        ("POST", {"content-type": JSON}, GOOD, 400, (3, None)),
        ("POST", {"content-length": "20000000"}, b"", 413, (8, "The body is over the limit of 16,777,216 bytes; send smaller batches.")),
        ("POST", {}, bytes(16 * 1024 * 1024 + 1), 413, (8, "The body is over the limit of 16,777,216 bytes; send smaller batches.")),
        ("POST", {"content-length": "abc"}, b"", 400, (3, "Content-Length is 'abc'; expected is a number.")),
        ("POST", {"transfer-encoding": "chunked"}, GOOD, 400, (3, "Content-Length and Transfer-Encoding exclude each other.")),
        ("POST", {"content-encoding": "gzip"}, gzip.compress(bytes(65 * 1024 * 1024)), 413, (8, "The compression ratio is over the limit of 250 to 1; send smaller batches.")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
def test_status_table(
    client: TestClient,
    inbox: Inbox,
    path: str,
    case: tuple[str, dict[str, str], bytes, int, tuple[int, str | None]],
) -> None:
    """
    Each bad request has its status, a google.rpc.Status in its own encoding, and is not kept.
    """
    method, headers, body, status, told = case
    given = {"content-type": PROTOBUF, "content-length": str(len(body)), **headers}

    response = client.request(method, path, content=iter([body]), headers=given)

    assert response.status_code == status
    is_protobuf = given["content-type"] == PROTOBUF
    assert response.headers["content-type"] == (PROTOBUF if is_protobuf else JSON)
    if method != "HEAD":
        answer = Status.FromString(response.content) if is_protobuf else None
        heard = (
            response.json() if answer is None else {"code": answer.code, "message": answer.message}
        )
        assert heard["code"] == told[0]
        assert heard["message"] == told[1] or told[1] is None
    assert response.headers.get("allow") == ("POST" if status == 405 else None)
    assert "retry-after" not in response.headers
    assert inbox.lag().accepted_seq == 0


def test_inflated_limit(inbox: Inbox) -> None:
    """
    A body that is over the limit only after decompression is refused.
    """
    gate = Gate(inbox, Limits(inflated_bytes=10_000), Metrics())
    with TestClient(app_of(gate)) as client:
        response = post(client, "/v1/traces", gzip.compress(bytes(10_001)), content_encoding="gzip")

    assert response.status_code == 413
    assert Status.FromString(response.content).message == (
        "The decompressed body is over the limit of 10,000 bytes; send smaller batches."
    )


def test_a_bomb_costs_no_memory(client: TestClient) -> None:
    """
    A body that would inflate to a gigabyte is refused after a few MiB.
    """
    squeezer = zlib.compressobj(9, wbits=31)
    zeroes = bytes(1 << 20)
    bomb = b"".join(squeezer.compress(zeroes) for _ in range(1024)) + squeezer.flush()
    assert len(bomb) < 1_100_000
    tracemalloc.start()
    response = post(client, "/v1/traces", bomb, content_encoding="gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert response.status_code == 413
    assert peak < 24 * 1024 * 1024


def test_bad_ids_are_rejected_and_the_rest_is_kept(client: TestClient, inbox: Inbox) -> None:
    """
    Spans without usable ids are counted in the partial success; the others are kept.
    """
    request = a_trace(spans=2)
    spans = request.resource_spans[0].scope_spans[0].spans
    good = ExportTraceServiceRequest()
    good.CopyFrom(request)
    for trace_id, span_id in (
        (b"", b"\x01" * 8),
        (b"\x01" * 15, b"\x01" * 8),
        (b"\x01" * 17, b"\x01" * 8),
        (bytes(16), b"\x01" * 8),
        (b"\x01" * 16, b"\x01" * 7),
        (b"\x01" * 16, bytes(8)),
    ):
        spans.add(trace_id=trace_id, span_id=span_id)

    response = post(client, "/v1/traces", request.SerializeToString())

    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert response.status_code == 200
    assert partial.rejected_spans == 6
    assert partial.error_message == (
        "6 of 8 spans rejected: 4 because the trace id is not 16 bytes, or zero; "
        "2 because the span id is not 8 bytes, or zero."
    )
    assert stored(inbox) == [("default", good)]


def test_partial_success_in_json(client: TestClient, inbox: Inbox) -> None:
    """
    The count is text, as the JSON form of a 64-bit integer demands; base64 ids are such a case.
    """
    span = {"traceId": "W47/95gDgQPSabYzgT/GDA==", "spanId": "7uGbfsPBsXQ="}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}

    response = post(client, "/v1/traces", json.dumps(body).encode(), content_type=JSON)

    assert response.status_code == 200
    assert response.json() == {
        "partialSuccess": {
            "rejectedSpans": "1",
            "errorMessage": "1 of 1 spans rejected: 1 because the trace id is not 16 bytes, or zero.",
        }
    }
    assert inbox.lag().accepted_seq == 0


def test_a_bad_parent_or_link_costs_no_span(client: TestClient, inbox: Inbox) -> None:
    """
    Only a span's own ids decide whether it is kept; the rest is the loader's to flag.
    """
    request = a_trace()
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.parent_span_id = b"short"
    span.links.add(trace_id=b"short", span_id=b"\x02" * 8)

    response = post(client, "/v1/traces", request.SerializeToString())

    assert (response.status_code, response.content) == (200, b"")
    assert stored(inbox) == [("default", request)]


def test_logs_sent_to_traces(client: TestClient, inbox: Inbox) -> None:
    """
    Log records posted to the traces endpoint decode as spans without ids: rejected and counted.
    """
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for number in range(3):
        records.add(time_unix_nano=number + 1, severity_number=9)

    response = post(client, "/v1/traces", request.SerializeToString())

    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert (response.status_code, partial.rejected_spans) == (200, 3)
    assert inbox.lag().accepted_seq == 0


def test_logs_that_mean_nothing_are_rejected_with_a_reason(
    client: TestClient, inbox: Inbox
) -> None:
    """
    Unknown events, own events without text and oversized registry events are counted, each with its
    reason; what is usable is kept.
    """
    request = some_logs(
        ("mvtrace.request", "{}"),
        ("app.started", "hello"),
        ("", "a plain log line"),
        ("mvtrace.unknown", ""),
        ("mvtrace.component", "x" * (256 * 1024)),
        ("mvtrace.component", "x" * (256 * 1024 + 1)),
        ("mvtrace.request", "x" * (256 * 1024 + 1)),
    )
    records = request.resource_logs[0].scope_logs[0].log_records
    records.add(event_name="mvtrace.composite").body.int_value = 5

    response = post(client, "/v1/logs", request.SerializeToString())

    partial = ExportLogsServiceResponse.FromString(response.content).partial_success
    assert (response.status_code, partial.rejected_log_records) == (200, 5)
    assert partial.error_message == (
        "5 of 8 log records rejected: 3 because no event of that name means anything to the store; "
        "1 because a registry event or a verdict is over 262,144 bytes, another decision or a score over 16,384; "
        "1 because the event's body is not text ('app.started', 'mvtrace.unknown')."
    )
    ((project, kept),) = stored(inbox)
    names = [record.event_name for record in kept.resource_logs[0].scope_logs[0].log_records]
    assert project == "default"
    assert names == ["mvtrace.request", "mvtrace.component", "mvtrace.request"]


def test_a_name_in_the_attributes_counts(client: TestClient, inbox: Inbox) -> None:
    """
    Before the field event_name an event's name stood in an attribute; such a record is kept as is,
    and so is one with a bad span id, which means "belongs to no span".
    """
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    record = records.add(trace_id=b"short", span_id=bytes(8))
    record.attributes.add(key="event.name").value.string_value = "gen_ai.choice"

    response = post(client, "/v1/logs", request.SerializeToString())

    assert (response.status_code, response.content) == (200, b"")
    assert stored(inbox) == [("default", request)]


def test_resources_of_several_projects_are_split(client: TestClient, inbox: Inbox) -> None:
    """
    One export with several projects becomes one envelope a project; a name that is none is refused.
    """
    request = a_trace("shop", "lab", "shop", "No Project", "")

    response = post(client, "/v1/traces", request.SerializeToString())

    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_spans == 1
    assert partial.error_message == (
        "1 of 5 spans rejected: 1 because the resource's mvtrace.project is no project name."
    )
    kept = stored(inbox)
    assert [project for project, _ in kept] == ["shop", "lab", "default"]
    assert [len(part.resource_spans) for _, part in kept] == [2, 1, 1]
    assert kept[0][1] == a_trace("shop", "shop")


def test_one_project_is_kept_byte_for_byte(client: TestClient, inbox: Inbox) -> None:
    """
    An export of one project goes to that project.
    """
    request = a_trace("shop", "shop")
    post(client, "/v1/traces", request.SerializeToString())

    assert stored(inbox) == [("shop", request)]


def test_counters(client: TestClient, gate: Gate) -> None:
    """
    What was received, accepted and rejected can be read from the metrics.
    """
    request = a_trace(spans=3)
    request.resource_spans[0].scope_spans[0].spans.add(name="no ids")
    post(client, "/v1/traces", request.SerializeToString())
    post(client, "/v1/traces", request.SerializeToString())
    post(client, "/v1/logs", some_logs(("x", "")).SerializeToString())
    post(client, "/v1/logs", b"{", content_type=JSON)

    text = gate.metrics.render().decode()

    for line in (
        'mvtrace_exports_total{encoding="protobuf",signal="traces",status="200"} 2.0',
        'mvtrace_exports_total{encoding="json",signal="logs",status="400"} 1.0',
        'mvtrace_accepted_total{signal="traces"} 3.0',
        'mvtrace_rejected_total{reason="trace-id",signal="traces"} 2.0',
        'mvtrace_rejected_total{reason="event-name",signal="logs"} 1.0',
        'mvtrace_duplicate_batches_total{signal="traces"} 1.0',
    ):
        assert line in text
