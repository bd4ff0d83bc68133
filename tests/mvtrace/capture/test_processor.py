"""Stamping and the seam, with spans of the real SDK and requests of the real capture."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from sink import Sink, attributes

import mvtrace
from mvtrace.capture import pipeline, processor
from mvtrace.capture.context import current_exchange
from mvtrace.capture.pipeline import Tracing
from mvtrace.capture.seam import MAX_VALUE_CHARACTERS, Cleaned, finished_span, kept_spans
from mvtrace.otlp import FinishedSpan, Scope, SpanEvent, SpanLink
from mvtrace.records import Drift, RequestRecord, UnixNano

VERSION = "ab" * 32


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


@pytest.fixture
def tracing(sink: Sink, tmp_path: Path) -> Iterator[Tracing]:
    made = mvtrace.configure(
        url=sink.url, spool_dir=tmp_path, arm="canary", service="svc", exit_grace_s=5
    )
    yield made
    made.shutdown()


def provider_of(tracing: Tracing, **options: Any) -> TracerProvider:
    """An application's own provider, joined as attach() would join a global one."""
    provider = TracerProvider(shutdown_on_exit=False, **options)
    pipeline._join(provider, tracing._processor)
    return provider


def delivered(sink: Sink, tracing: Tracing) -> dict[str, Any]:
    assert tracing.flush(10)
    return {span.name: span for span in sink.spans}


def test_span_of_another_instrumentor_is_stamped(sink: Sink, tracing: Tracing) -> None:
    """
    A span that a library starts in a request carries its id and arm, for every exporter.
    """
    provider = provider_of(tracing)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    library = provider.get_tracer("some.library", "3.1")

    with (
        mvtrace.request(route="queue:jobs") as request,
        library.start_as_current_span("call", attributes={"k": 5}),
    ):
        pass

    (seen,) = exporter.get_finished_spans()
    span = delivered(sink, tracing)["call"]
    stamp = {"mvtrace.request.id": request.request_id, "mvtrace.arm": "canary"}
    assert attributes(span) == {**stamp, "k": 5}
    assert seen.attributes is not None
    assert stamp.items() <= dict(seen.attributes).items()


def test_span_outside_of_a_request_is_sent_as_it_is(sink: Sink, tracing: Tracing) -> None:
    """
    Background work is delivered too, and claims no request.
    """
    provider_of(tracing).get_tracer("cron").start_span("tick", attributes={"k": 1}).end()

    assert attributes(delivered(sink, tracing)["tick"]) == {"k": 1}


def test_limits_of_the_provider_do_not_cut_the_stamp(sink: Sink, tracing: Tracing) -> None:
    """
    128 attributes and a value-length limit of 10 leave request id and arm whole.
    """
    limits = SpanLimits(max_span_attributes=128, max_span_attribute_length=10)
    library = provider_of(tracing, span_limits=limits).get_tracer("library")

    with mvtrace.request(route="r") as request, library.start_as_current_span("many") as span:
        span.set_attributes({f"key.{i}": "x" * 40 for i in range(128)})

    found = attributes(delivered(sink, tracing)["many"])
    assert found["mvtrace.request.id"] == request.request_id
    assert found["mvtrace.arm"] == "canary"


def test_span_that_ends_in_another_thread(sink: Sink, tracing: Tracing) -> None:
    """
    A span belongs to the request it was started in, wherever and whenever it ends.
    """
    library = provider_of(tracing).get_tracer("library")
    with mvtrace.request(route="r") as request:
        inner = library.start_span("inner")
        late = library.start_span("late")
        thread = threading.Thread(target=inner.end)
        thread.start()
        thread.join()
    late.end()
    with mvtrace.request(route="other"):
        gone = library.start_span("gone")
    gc.collect()
    gone.end()

    found = delivered(sink, tracing)
    assert attributes(found["inner"])["mvtrace.request.id"] == request.request_id
    assert attributes(found["late"])["mvtrace.request.id"] == request.request_id
    assert "mvtrace.request.id" in attributes(found["gone"])


def test_asgi_message_spans_are_dropped(sink: Sink, tracing: Tracing) -> None:
    """
    A span a message of an ASGI server is counted and not delivered.
    """
    library = provider_of(tracing).get_tracer("opentelemetry.instrumentation.asgi")
    with library.start_as_current_span("GET /stream"):
        for _ in range(5):
            with library.start_as_current_span("GET /stream http send") as span:
                span.set_attribute("asgi.event.type", "http.response.body")

    assert list(delivered(sink, tracing)) == ["GET /stream"]
    assert tracing.stats()["spans_dropped_asgi_messages"] == 5


def test_spans_that_never_end_are_forgotten(
    tracing: Tracing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Open spans are remembered up to a bound; the oldest are forgotten and counted.
    """
    monkeypatch.setattr(processor, "MAX_OPEN_SPANS", 10)
    library = provider_of(tracing).get_tracer("leaky")

    with mvtrace.request(route="r"):
        for _ in range(25):
            library.start_span("never ended")

    assert len(tracing._processor._open) <= 10
    assert tracing.stats()["spans_forgotten"] >= 15


def test_failure_in_stamping_stays_inside(tracing: Tracing) -> None:
    """
    An error of ours is counted and does not reach the application.
    """
    before = tracing.stats()["capture_errors"]

    with mvtrace.request(route="r"):
        exchange = current_exchange()
        assert exchange is not None
        tracing.adopt_span(object(), exchange)

    assert tracing.stats()["capture_errors"] == before + 1


def test_global_provider_is_joined_once(sink: Sink, tracing: Tracing) -> None:
    """
    Two tracings on one provider do not deliver a span twice.
    """
    provider = provider_of(tracing)
    other = Tracing(tracing.config)
    pipeline._join(provider, other._processor)

    provider.get_tracer("library").start_span("once").end()

    assert tracing.flush(10)
    assert other.flush(10)
    assert [span.name for span in sink.spans] == ["once"]
    other.shutdown()


def readable(**options: Any) -> ReadableSpan:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("scope", "1.0", "https://example.org/s")
    linked = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
    span = tracer.start_span(
        "name",
        kind=SpanKind.CLIENT,
        links=[Link(linked, {"l": 1})],
        start_time=100,
        **options,
    )
    span.add_event("event", {"e": True}, timestamp=150)
    span.set_status(Status(StatusCode.ERROR, "broken"))
    span.end(200)
    (found,) = exporter.get_finished_spans()
    return found


def test_span_of_the_sdk_becomes_a_finished_span() -> None:
    """
    Every field of the SDK's span is on the seam's value.
    """
    parent = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    span = readable(attributes={"a": [1, 2]}, context=context)
    ids = span.get_span_context()
    assert ids is not None

    found = finished_span(span)

    assert found._replace(attributes=dict(found.attributes)) == FinishedSpan(
        trace_id=(7).to_bytes(16, "big"),
        span_id=ids.span_id.to_bytes(8, "big"),
        parent_span_id=(8).to_bytes(8, "big"),
        name="name",
        kind=3,
        start_time_unix_nano=100,
        end_time_unix_nano=200,
        attributes={"a": (1, 2)},
        events=(SpanEvent(150, "event", {"e": True}),),
        links=(SpanLink((1).to_bytes(16, "big"), (2).to_bytes(8, "big"), {"l": 1}),),
        status_code=2,
        status_message="broken",
        scope=Scope("scope", "1.0", "https://example.org/s"),
    )


def a_span(**options: Any) -> FinishedSpan:
    return FinishedSpan(b"t" * 16, b"s" * 8, b"", "name", 1, 1, 2, **options)


def test_content_is_taken_out_by_name() -> None:
    """
    Prompts and answers leave spans, events and links; their names stay.
    """
    span = a_span(
        attributes={"gen_ai.prompt.0.content": "secret", "input.value": "secret", "k": 1},
        events=[
            SpanEvent(1, "gen_ai.choice", {"message": "secret", "finish_reason": "stop"}),
            SpanEvent(2, "exception", {"exception.type": "ValueError"}),
        ],
        links=[SpanLink(b"t" * 16, b"s" * 8, {"output.value": "secret"})],
    )

    cleaned = Cleaned(span)

    assert cleaned.span == a_span(
        attributes={"k": 1, "mvtrace.content.removed": ["gen_ai.prompt.0.content", "input.value"]},
        events=[
            SpanEvent(
                1,
                "gen_ai.choice",
                {"finish_reason": "stop", "mvtrace.content.removed": ["message"]},
            ),
            SpanEvent(2, "exception", {"exception.type": "ValueError"}),
        ],
        links=[
            SpanLink(b"t" * 16, b"s" * 8, {"mvtrace.content.removed": ["output.value"]}),
        ],
    )
    assert (cleaned.removed, cleaned.cut) == (4, 0)


def test_long_values_are_cut() -> None:
    """
    One attribute cannot fill the spool: long text is cut and counted.
    """
    cleaned = Cleaned(a_span(attributes={"sql": "x" * 100_000, "short": "y"}))

    assert cleaned.span.attributes == {"sql": "x" * MAX_VALUE_CHARACTERS, "short": "y"}
    assert cleaned.cut == 1


SERVER = a_span(attributes={})
INNER = SERVER._replace(span_id=b"i" * 8, parent_span_id=b"s" * 8)


def a_record(number: int = 0, **facts: Any) -> RequestRecord:
    return RequestRecord(
        **{
            "request_id": f"019a0000-0000-7000-8000-{number:012x}",
            "revision": 2,
            "state": "finished",
            "producer_id": "p",
            "sequence": 1,
            "span_id": SERVER.span_id.hex(),
            "started_at": UnixNano(0),
            "ended_at": UnixNano(1_000_000),
            "outcome": "ok",
            "status_code": 200,
            **facts,
        }
    )


@pytest.mark.parametrize(
    ("record", "spans", "expected"),
    [
        (a_record(), [SERVER, INNER], [SERVER]),
        (a_record(outcome="error"), [SERVER, INNER], [SERVER, INNER]),
        (a_record(outcome="client_disconnected"), [SERVER, INNER], [SERVER, INNER]),
        (a_record(status_code=503), [SERVER, INNER], [SERVER, INNER]),
        (a_record(ended_at=UnixNano(50_000_000)), [SERVER, INNER], [SERVER, INNER]),
        (
            a_record(drift=(Drift(kind="index", name="i", what="digest"),)),
            [SERVER, INNER],
            [SERVER, INNER],
        ),
        (
            a_record(),
            [SERVER, INNER._replace(status_code=2)],
            [SERVER, INNER._replace(status_code=2)],
        ),
    ],
)
def test_remarkable_requests_keep_their_spans(
    record: RequestRecord, spans: list[FinishedSpan], expected: list[FinishedSpan]
) -> None:
    """
    At a ratio of 0 an unremarkable request keeps its own span only; errors, drift and slowness
    keep all.
    """
    assert kept_spans(spans, record, ratio=0.0, slow_ms=50.0) == expected


def test_ratio_is_kept_and_every_process_chooses_alike() -> None:
    """
    About the given share of requests keeps its spans, and the choice is by request id.
    """
    records = [a_record(number) for number in range(2000)]

    kept = [
        len(kept_spans([SERVER, INNER], record, ratio=0.25, slow_ms=1e9)) == 2 for record in records
    ]

    assert 430 <= sum(kept) <= 570
    assert kept == [
        len(kept_spans([SERVER, INNER], record, ratio=0.25, slow_ms=1e9)) == 2 for record in records
    ]
