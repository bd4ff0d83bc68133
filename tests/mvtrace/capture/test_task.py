"""mvtrace.request: records of work that no ASGI server brings."""

from __future__ import annotations

import asyncio
import threading

import pytest
from captured import Captured
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

import mvtrace

pytestmark = pytest.mark.usefixtures("tracing")


def test_job(captured: Captured) -> None:
    """
    A job has a record with its route, its calls and its message's trace and ids.
    """
    system = mvtrace.composite("s", mvtrace.prompt("p", "Say {x}"))
    headers = {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        "X-Request-Id": "mine",
    }

    with mvtrace.request("queue:jobs", composite=system, arm="canary", headers=headers) as job:
        assert mvtrace.current_request_id() == job.request_id
        with mvtrace.tool("t"):
            pass

    record = captured.record
    assert record.request_id == job.request_id
    assert (record.protocol, record.route, record.outcome) == ("task", "queue:jobs", "ok")
    assert (record.composite_version, record.arm) == (system.version, "canary")
    assert record.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert [(alias.kind, alias.value) for alias in record.aliases] == [("x-request-id", "mine")]
    assert (record.status_code, record.response_bytes, record.path) == (None, None, None)
    span = captured.span("queue:jobs")
    assert (span.kind, span.span_id, span.parent_id) == (5, record.span_id, "00f067aa0ba902b7")
    assert captured.span("execute_tool t").parent_id == record.span_id
    assert mvtrace.current_request_id() is None


def test_job_within_a_request(captured: Captured) -> None:
    """
    A request inside a request is one of its own, and names the outer one as its parent.
    """
    with mvtrace.request(route="outer") as outer, mvtrace.request(route="inner") as inner:
        with mvtrace.tool("t"):
            pass
        assert mvtrace.current_request_id() == inner.request_id

    records = {record.route: record for record in captured.records}
    assert records["inner"].parent_request_id == outer.request_id
    assert records["inner"].trace_id == records["outer"].trace_id
    assert [len(records[route].calls) for route in ("inner", "outer")] == [1, 0]


def test_failing_job(captured: Captured) -> None:
    """
    What a job raises goes on unchanged; a cancelled one is cancelled.
    """
    with pytest.raises(KeyError), mvtrace.request(route="a"):
        raise KeyError("k")

    async def cancelled() -> None:
        async with mvtrace.request(route="b"):
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())

    assert [(r.route, r.outcome, r.error_type) for r in captured.records] == [
        ("a", "error", "KeyError"),
        ("b", "cancelled", "asyncio.exceptions.CancelledError"),
    ]


def test_jobs_on_threads(captured: Captured) -> None:
    """
    Jobs on threads of their own are apart, and their numbers have no hole.
    """

    def job(number: int) -> None:
        with mvtrace.request(route=f"job-{number}"), mvtrace.tool(f"tool-{number}"):
            pass

    threads = [threading.Thread(target=job, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = {record.route: [call.name for call in record.calls] for record in captured.records}
    assert found == {f"job-{number}": [f"tool-{number}"] for number in range(10)}
    assert sorted(record.sequence for record in captured.records) == list(range(1, 11))


def test_inside_somebody_elses_server_span(captured: Captured, provider: TracerProvider) -> None:
    """
    Inside the server span of another instrumentation, such as gRPC's, no second one is opened.
    """
    tracer = provider.get_tracer("grpc")

    with (
        tracer.start_as_current_span("/Chat/Ask", kind=SpanKind.SERVER) as span,
        mvtrace.request(route="grpc:/Chat/Ask"),
    ):
        pass

    record = captured.record
    assert record.span_id == f"{span.get_span_context().span_id:016x}"
    [only] = captured.spans
    assert only.attributes["mvtrace.request.id"] == record.request_id
