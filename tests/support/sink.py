"""A real HTTP server on loopback that takes OTLP deliveries and answers as it was told."""

from __future__ import annotations

import dataclasses
import gzip
import http.server
import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True)
class Delivery:
    """One POST and how it was answered."""

    path: str
    headers: dict[str, str]
    raw: bytes
    status: int
    at: float
    is_accepted: bool

    @property
    def batch_id(self) -> str:
        return self.headers["x-mvtrace-batch"]

    @property
    def body(self) -> bytes:
        is_gzip = self.headers.get("content-encoding") == "gzip"
        return gzip.decompress(self.raw) if is_gzip else self.raw

    @property
    def message(self) -> Any:
        is_traces = self.path.endswith("/v1/traces")
        kind: Any = ExportTraceServiceRequest if is_traces else ExportLogsServiceRequest
        return kind.FromString(self.body)


@dataclass(frozen=True)
class Scripted:
    """An answer to give once."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Sink:
    """The server; a context manager."""

    def __init__(self, max_body: int | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.deliveries: list[Delivery] = []
        self.script: deque[Scripted] = deque()
        self.max_body = max_body
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sink._answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers["content-length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        pending = Delivery(handler.path, headers, raw, 0, time.monotonic(), is_accepted=False)
        if self.script:
            answer = self.script.popleft()
        elif self.max_body is not None and len(pending.body) > self.max_body:
            answer = Scripted(413)
        else:
            answer = Scripted(200, {"content-type": PROTOBUF})
        is_accepted = answer.status == 200 and answer.headers.get("content-type") == PROTOBUF
        self.deliveries.append(
            dataclasses.replace(pending, status=answer.status, is_accepted=is_accepted)
        )
        handler.send_response(answer.status)
        for name, value in {"content-length": str(len(answer.body)), **answer.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(answer.body)
        if answer.headers.get("connection") == "close":
            handler.close_connection = True

    @property
    def accepted(self) -> list[Delivery]:
        return [delivery for delivery in self.deliveries if delivery.is_accepted]

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for delivery in self.accepted
            if delivery.path.endswith("/v1/traces")
            for resource in delivery.message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def logs(self) -> list[LogRecord]:
        """All events but those that producers say about themselves."""
        return [log for log in self._log_records() if log.event_name != "mvtrace.producer"]

    @property
    def producers(self) -> list[dict[str, Any]]:
        """What producers said about themselves, in the order it came."""
        return [
            json.loads(log.body.string_value)
            for log in self._log_records()
            if log.event_name == "mvtrace.producer"
        ]

    def _log_records(self) -> list[LogRecord]:
        return [
            log
            for delivery in self.accepted
            if delivery.path.endswith("/v1/logs")
            for resource in delivery.message.resource_logs
            for scope in resource.scope_logs
            for log in scope.log_records
        ]

    def wait_for(self, condition: Callable[[Sink], object], timeout_s: float = 20.0) -> None:
        """Return once *condition* holds.

        Raises:
            TimeoutError: it did not in time.
        """
        deadline = time.monotonic() + timeout_s
        while not condition(self):
            if time.monotonic() > deadline:
                raise TimeoutError([(d.status, d.path, d.batch_id) for d in self.deliveries])
            time.sleep(0.01)


def attributes(message: Any) -> dict[str, Any]:
    """Return the attributes of a span or log record as plain values."""
    return {pair.key: plain(pair.value) for pair in message.attributes}


def plain(value: Any) -> Any:
    """Return an AnyValue as a Python value."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, kind)


def partial_success(path: str, rejected: int) -> bytes:
    """Return the body of an answer that took all but *rejected* items."""
    if path == "/v1/traces":
        traces = ExportTraceServiceResponse()
        traces.partial_success.rejected_spans = rejected
        traces.partial_success.error_message = "some were not usable"
        return traces.SerializeToString()
    logs = ExportLogsServiceResponse()
    logs.partial_success.rejected_log_records = rejected
    return logs.SerializeToString()
