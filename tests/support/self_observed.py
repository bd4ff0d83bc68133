"""A collector within the test's process, what it is sent, and what it says of itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.testclient import TestClient

from mvtrace.otlp import LogEvent, Scope, encode_request, encode_resource, encode_scope_logs
from mvtrace.records import RequestRecord, UnixNano
from mvtrace_collector.app import build_app
from mvtrace_collector.config import CollectorConfig

PROTOBUF = {"content-type": "application/x-protobuf"}
SECRET = "the patient said that"


@contextmanager
def application(folder: Path, **options: Any) -> Iterator[TestClient]:
    """A collector within this process, whose parts a test can break."""
    config = CollectorConfig(store=f"chdb://{folder / 'store'}", **options)
    with TestClient(build_app(config)) as client:
        yield client


def state_of(client: TestClient) -> Any:
    return client.app.state.collector  # type: ignore[attr-defined]


def a_trace(name: str = "hello") -> bytes:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(
        trace_id=os.urandom(16),
        span_id=os.urandom(8),
        name=name,
        start_time_unix_nano=time.time_ns(),
        end_time_unix_nano=time.time_ns(),
    )
    return request.SerializeToString()


def log_body(*events: LogEvent) -> bytes:
    return encode_request(encode_resource({}), [encode_scope_logs(Scope("mvtrace"), events)])


def a_record(request_id: str, producer: str) -> RequestRecord:
    return RequestRecord(
        request_id=request_id,
        revision=2,
        state="finished",
        producer_id=f"00000000-0000-4000-8000-00000000000{producer}",
        sequence=1,
        started_at=UnixNano(time.time_ns()),
    )


def metrics_in(text: str) -> dict[str, float]:
    """Every sample of a scrape by its whole name with labels."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    pairs = (line.rpartition(" ") for line in lines)
    return {name: float(value) for name, _, value in pairs}


def wait_until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.05)
