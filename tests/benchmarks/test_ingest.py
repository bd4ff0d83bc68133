"""From a post to queryable rows, durable: spans a second and CPU, beside protobuf's parser alone."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import collector

REQUESTS = int(os.environ.get("MVTRACE_BENCH_POSTS", "200"))
SPANS = 512
WORDS = [f"word{number}" for number in range(60)]
TICKS = os.sysconf("SC_CLK_TCK")

pytestmark = pytest.mark.benchmark


def request(seed: int) -> bytes:
    """An export of 64 traces of 8 spans, 20 attributes each, two of them text of a model."""
    source = random.Random(seed)
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    service = resource.resource.attributes.add()
    service.key, service.value.string_value = "service.name", "bench"
    spans = resource.scope_spans.add().spans
    for _ in range(SPANS // 8):
        trace = source.randbytes(16)
        for _ in range(8):
            span = spans.add(trace_id=trace, span_id=source.randbytes(8), name="chat m", kind=3)
            span.start_time_unix_nano = time.time_ns()
            span.end_time_unix_nano = span.start_time_unix_nano + source.randrange(10**9)
            for number in range(20):
                attribute = span.attributes.add()
                attribute.key = f"gen_ai.bench.{number}"
                if number % 3:
                    attribute.value.string_value = " ".join(source.choices(WORDS, k=number % 5 + 1))
                else:
                    attribute.value.int_value = source.randrange(10**6)
    return made.SerializeToString()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def post(connection: http.client.HTTPConnection, body: bytes) -> None:
    headers = {"content-type": "application/x-protobuf"}
    connection.request("POST", "/v1/traces", body, headers)
    reply = connection.getresponse()
    reply.read()
    assert reply.status == 200


def wait_queryable(connection: http.client.HTTPConnection, spans: int) -> None:
    start, stored = time.perf_counter(), 0
    while stored < spans:
        assert time.perf_counter() - start < 300, stored
        # Not more often: what a look costs is counted as the collector's.
        time.sleep(0.1)
        connection.request("GET", f"/sql?query={quote('SELECT count() FROM spans')}")
        stored = int(connection.getresponse().read())


def test_ingest_to_queryable(tmp_path: Path) -> None:
    """
    Prints acknowledged and queryable spans a second, CPU a span, and the ratio to parsing alone.
    """
    bodies = [request(seed) for seed in range(20)]
    total = REQUESTS * SPANS
    start = time.process_time()
    for body in bodies:
        ExportTraceServiceRequest.FromString(body)
    parsing_us = (time.process_time() - start) / (len(bodies) * SPANS) * 1e6
    bodies = [request(seed) for seed in range(REQUESTS)]

    with (
        collector(tmp_path) as one,
        contextlib.closing(
            http.client.HTTPConnection(one.url.removeprefix("http://"))
        ) as connection,
    ):
        start = time.perf_counter()
        post(connection, request(REQUESTS))
        wait_queryable(connection, SPANS)
        first = time.perf_counter() - start
        start = time.perf_counter()
        post(connection, request(REQUESTS + 1))
        wait_queryable(connection, 2 * SPANS)
        single = time.perf_counter() - start

        before, start = cpu_seconds(one.process.pid), time.perf_counter()
        for body in bodies:
            post(connection, body)
        acknowledged = time.perf_counter() - start
        wait_queryable(connection, total + 2 * SPANS)
        queryable = time.perf_counter() - start
        cpu_us = (cpu_seconds(one.process.pid) - before) / total * 1e6

    print(
        f"\n{total} spans of {len(bodies[0]) // SPANS} bytes: acknowledged "
        f"{total / acknowledged:,.0f} a second, queryable {total / queryable:,.0f} a second; "
        f"{cpu_us:.1f} us of CPU a span, {cpu_us / parsing_us:.0f} x protobuf's parser alone; one "
        f"request alone queryable after {single:.2f} s, the first of a process after {first:.2f} s"
    )

    assert queryable > acknowledged
