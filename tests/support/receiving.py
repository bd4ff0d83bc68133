"""A receiver on an inbox: what a test sends it, and what it reads from the inbox by hand."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from mvtrace_collector.inbox import Inbox
from mvtrace_collector.receiver import Gate, Receiver

PROTOBUF, JSON = "application/x-protobuf", "application/json"


def app_of(gate: Gate) -> Starlette:
    """Return an application with both receivers."""
    routes = [
        Route("/v1/traces", Receiver("traces", lambda: gate)),
        Route("/v1/logs", Receiver("logs", lambda: gate)),
    ]
    return Starlette(routes=routes)


def a_trace(*projects: str, spans: int = 1) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for project in projects or ("",):
        resource_spans = request.resource_spans.add()
        if project:
            attribute = resource_spans.resource.attributes.add(key="mvtrace.project")
            attribute.value.string_value = project
        scope_spans = resource_spans.scope_spans.add()
        for number in range(1, spans + 1):
            scope_spans.spans.add(
                trace_id=b"\x01" * 16, span_id=number.to_bytes(8, "big"), name=f"span {number}"
            )
    return request


def some_logs(*events: tuple[str, str]) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for name, body in events:
        records.add(event_name=name).body.string_value = body
    return request


def stored(inbox: Inbox) -> list[tuple[str, Any]]:
    """Return (project, request) of each frame in the inbox."""
    found: list[tuple[str, Any]] = []
    while (intent := inbox.take(1, 0.0)) is not None:
        found += frames_of(intent.path.read_bytes())
        inbox.mark_stored(intent, {})
    return found


def frames_of(data: bytes) -> list[tuple[str, Any]]:
    """Read frames with nothing of the code under test: an Envelope parsed by hand."""
    found: list[tuple[str, Any]] = []
    position = 0
    while position < len(data):
        length, position = varint_at(data, position)
        end = position + length
        project = ""
        while position < end:
            tag, position = varint_at(data, position)
            if tag & 7 == 5:
                position += 4
                continue
            value, position = varint_at(data, position)
            if tag & 7 == 0:
                continue
            payload = data[position : position + value]
            position += value
            if tag >> 3 == 1:
                project = payload.decode()
            elif tag >> 3 == 5:
                found.append((project, ExportTraceServiceRequest.FromString(payload)))
            elif tag >> 3 == 6:
                found.append((project, ExportLogsServiceRequest.FromString(payload)))
    return found


def varint_at(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return number, position


def post(client: TestClient, path: str, body: bytes, **headers: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given.setdefault("content-type", PROTOBUF)
    return client.post(path, content=body, headers=given)


GOOD = a_trace().SerializeToString()
