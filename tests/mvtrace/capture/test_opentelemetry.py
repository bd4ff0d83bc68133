"""Composed with the real OpenTelemetry: its SDK, its ASGI middleware, FastAPI's instrumentor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgi import REQUEST, Conversation, body, http_scope, start, websocket_scope
from captured import Captured, global_provider
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import SpanLimits, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from starlette.testclient import TestClient

import mvtrace
from mvtrace.records import RequestRecord

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
pytestmark = pytest.mark.usefixtures("tracing")


def shop() -> FastAPI:
    """An application whose every answer needs one tool, and whose stream needs one more."""
    app = FastAPI()

    @app.get("/items/{item}")
    def item(item: str) -> dict[str, str | None]:
        with mvtrace.tool("stock", arguments={"item": item}) as call:
            call.result("3")
        with trace.get_tracer("foreign").start_as_current_span("their span"):
            mvtrace.annotate(tenant="t1")
        return {"id": mvtrace.current_request_id()}

    @app.get("/stream")
    def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(5):
                await asyncio.sleep(0)
                yield b"x"

        return StreamingResponse(chunks())

    app.add_middleware(mvtrace.TraceMiddleware, composite=system(), arm="stable")
    return app


def system() -> Any:
    return mvtrace.composite("shop", mvtrace.prompt("p", "Say {x}"))


@pytest.fixture(autouse=True)
def background_tasks_as_they_were() -> Iterator[None]:
    """The instrumentor of one application wraps the background tasks of all."""
    yield
    FastAPIInstrumentor.uninstrument_app(FastAPI())


@pytest.fixture
def seen(provider: TracerProvider) -> InMemorySpanExporter:
    """What the application's own exporter gets."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


def whole(record: RequestRecord) -> None:
    """Assert that nothing of the evidence is missing."""
    assert (record.state, record.outcome, record.status_code) == ("finished", "ok", 200)
    assert (record.route, record.response_bytes) == ("/items/{item}", 45)
    assert record.composite_version == system().version
    assert [(call.kind, call.name, call.outcome) for call in record.calls] == [
        ("tool", "stock", "ok")
    ]
    assert all(call.input_digest and call.output_digest for call in record.calls)
    assert record.annotations == {"tenant": "t1"}
    assert record.trace_id is not None


def test_inside_fastapi_instrumentor(captured: Captured, seen: InMemorySpanExporter) -> None:
    """
    Inside OpenTelemetry's server span no second one is opened: theirs carries our summary, which is
    complete although they end it with the last body event.
    """
    app = shop()
    FastAPIInstrumentor.instrument_app(app)

    answered = TestClient(app).get("/items/7")

    record = captured.record
    whole(record)
    [server] = [span for span in seen.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert server.attributes is not None
    assert server.name == "GET /items/{item}"
    assert (record.trace_id, record.span_id) == (
        f"{server.context.trace_id:032x}",
        f"{server.context.span_id:016x}",
    )
    assert answered.headers["x-mvtrace-request-id"] == record.request_id
    assert {
        key: value for key, value in server.attributes.items() if key.startswith("mvtrace.")
    } == {
        "mvtrace.request.id": record.request_id,
        "mvtrace.composite.version": record.composite_version,
        "mvtrace.arm": "stable",
        "mvtrace.response.chunks": 1,
    }
    assert server.attributes["http.response.body.size"] == 45


def test_spans_of_others_are_stamped(captured: Captured, seen: InMemorySpanExporter) -> None:
    """
    A span of any instrumentation in the request names the request, in every exporter and in ours.
    """
    app = shop()
    FastAPIInstrumentor.instrument_app(app)

    TestClient(app).get("/items/7")

    record = captured.record
    theirs = [span for span in seen.get_finished_spans() if span.name == "their span"]
    assert [(span.attributes or {})["mvtrace.request.id"] for span in theirs] == [record.request_id]
    ours = captured.spans
    assert sorted(span.name for span in ours) == [
        "GET /items/{item}", "execute_tool stock", "their span",
    ]  # fmt: skip
    assert {span.attributes["mvtrace.request.id"] for span in ours} == {record.request_id}
    assert {span.trace_id for span in ours} == {record.trace_id}


def test_stream_inside_fastapi_instrumentor(captured: Captured, seen: InMemorySpanExporter) -> None:
    """
    Counters of a stream are on their span before the last chunk ends it, and a span a chunk is not
    kept.
    """
    app = shop()
    FastAPIInstrumentor.instrument_app(app)

    TestClient(app).get("/stream")

    [server] = [span for span in seen.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert (server.attributes or {})["mvtrace.response.chunks"] == 5
    assert captured.record.response_chunks == 5
    assert [span.name for span in captured.spans] == ["GET /stream"]


def test_around_their_middleware(captured: Captured, seen: InMemorySpanExporter) -> None:
    """
    With OpenTelemetry's middleware inside ours, the server span is ours and theirs lies below it.
    """
    app = mvtrace.TraceMiddleware(OpenTelemetryMiddleware(simple))

    TestClient(app).get("/items/7")

    record = captured.record
    spans = {span.kind: span for span in seen.get_finished_spans() if "http" not in span.name}
    assert (spans[SpanKind.SERVER].parent, record.outcome) == (None, "ok")
    assert record.span_id == f"{spans[SpanKind.SERVER].context.span_id:016x}"
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {record.trace_id}


async def simple(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    await send(body(b"x"))


LIMITED = SpanLimits(max_span_attributes=128, max_span_attribute_length=10)


@pytest.mark.parametrize(
    ("options", "headers", "excluded"),
    [
        ({}, {}, None),
        ({"sampler": sampling.ALWAYS_OFF}, {}, None),
        ({"sampler": sampling.ParentBased(sampling.TraceIdRatioBased(0.0))}, {}, None),
        ({}, {"traceparent": PARENT + "-00"}, None),
        ({}, {}, "items"),
        ({"sampler": sampling.ALWAYS_OFF}, {}, "items"),
        ({"span_limits": LIMITED}, {}, None),
        ({"span_limits": SpanLimits(max_span_attributes=1)}, {}, None),
    ],
)
@pytest.mark.parametrize("is_instrumented", [True, False])
def test_record_is_whole_whatever_the_spans_are(
    captured: Captured,
    options: dict[str, Any],
    headers: dict[str, str],
    excluded: str | None,
    is_instrumented: bool,
) -> None:
    """
    No sampler, traceparent, excluded URL or span limit takes anything from the record.
    """
    with global_provider(TracerProvider(shutdown_on_exit=False, **options)):
        app = shop()
        if is_instrumented:
            FastAPIInstrumentor.instrument_app(app, excluded_urls=excluded)

        answered = TestClient(app).get("/items/7", headers=headers)

        whole(captured.record)
    assert answered.headers["x-mvtrace-request-id"] == captured.record.request_id
    if headers:
        assert captured.record.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_server_span_with_128_attributes(captured: Captured, provider: TracerProvider) -> None:
    """
    A server span that others have filled up to its limit pushes nothing out of the record.
    """

    def fill(span: trace.Span, scope: Any) -> None:
        span.set_attributes({f"filler.{number}": number for number in range(200)})

    app = shop()
    FastAPIInstrumentor.instrument_app(app, server_request_hook=fill)

    TestClient(app).get("/items/7")

    whole(captured.record)
    server = captured.span("GET /items/{item}")
    assert server.attributes["mvtrace.request.id"] == captured.record.request_id


@pytest.mark.parametrize(
    ("trust", "is_child"), [(None, True), (True, True), (False, False)]
)  # fmt: skip
def test_incoming_traceparent(captured: Captured, trust: bool | None, is_child: bool) -> None:
    """
    A caller's traceparent is continued unless that is forbidden.
    """
    options = {"url": captured.sink.url, "spool_dir": captured.tracing.config.spool_dir}
    captured.tracing = mvtrace.configure(trust_incoming=trust, **options)
    headers = [(b"traceparent", (PARENT + "-01").encode()), (b"tracestate", b"a=b")]

    Conversation(REQUEST).run(mvtrace.TraceMiddleware(simple), http_scope(headers=headers))

    [span] = captured.spans
    assert (span.parent_id == "00f067aa0ba902b7") is is_child
    assert (captured.record.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736") is is_child
    captured.tracing.shutdown()


@pytest.mark.parametrize(("trust", "is_known"), [(None, False), (True, True), (False, False)])
def test_incoming_baggage(captured: Captured, trust: bool | None, is_known: bool) -> None:
    """
    The caller's request id is believed only from baggage that is trusted.
    """
    options = {"url": captured.sink.url, "spool_dir": captured.tracing.config.spool_dir}
    captured.tracing = mvtrace.configure(trust_incoming=trust, **options)
    caller = "01900000-0000-7000-8000-000000000000"
    headers = [(b"baggage", f"a=b, mvtrace.request.id={caller};p=1".encode())]

    Conversation(REQUEST).run(mvtrace.TraceMiddleware(simple), http_scope(headers=headers))

    assert captured.record.parent_request_id == (caller if is_known else None)
    captured.tracing.shutdown()


def test_two_services(captured: Captured) -> None:
    """
    A called service's record names the request that called it, where baggage may go and is trusted.
    """
    options = {"url": captured.sink.url, "spool_dir": captured.tracing.config.spool_dir}
    captured.tracing = mvtrace.configure(
        trust_incoming=True, propagate_to=["called.internal", "*.svc"], **options
    )
    said: dict[str, dict[str, str]] = {}

    async def caller(scope: Any, receive: Any, send: Any) -> None:
        for url in ("http://called.internal/x", "http://a.svc:8080/", "https://provider.example/"):
            said[url] = mvtrace.propagation_headers(url)
        await simple(scope, receive, send)

    Conversation(REQUEST).run(mvtrace.TraceMiddleware(caller), http_scope())
    inner = [(name.encode(), value.encode()) for name, value in said["http://a.svc:8080/"].items()]
    Conversation(REQUEST).run(mvtrace.TraceMiddleware(simple), http_scope(headers=inner))

    first, second = captured.records
    assert second.parent_request_id == first.request_id
    assert second.trace_id == first.trace_id
    assert ["baggage" in headers for headers in said.values()] == [True, True, False]
    captured.tracing.shutdown()


def test_websocket_inside_their_middleware(captured: Captured, provider: TracerProvider) -> None:
    """
    A websocket inside OpenTelemetry's middleware has one record and their one server span.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})

    talk = Conversation({"type": "websocket.connect"})
    talk.run(OpenTelemetryMiddleware(mvtrace.TraceMiddleware(app)), websocket_scope())

    record = captured.record
    servers = [span for span in captured.spans if span.kind == 2]
    assert [span.span_id for span in servers] == [record.span_id]
    assert servers[0].attributes["mvtrace.request.id"] == record.request_id


def test_provider_set_after_the_first_request(captured: Captured) -> None:
    """
    A tracer provider that the application sets late is joined with the next request.
    """
    app = TestClient(shop())
    app.get("/items/1")
    with global_provider(TracerProvider(shutdown_on_exit=False)) as late:
        exporter = InMemorySpanExporter()
        late.add_span_processor(SimpleSpanProcessor(exporter))
        app.get("/items/2")

        names = {span.name for span in exporter.get_finished_spans()}
    assert names >= {"GET /items/{item}", "execute_tool stock", "their span"}
    assert [record.outcome for record in captured.records] == ["ok", "ok"]


@pytest.fixture(autouse=True)
def uninstrumented() -> Iterator[None]:
    """Nothing of the instrumentor stays on between tests."""
    yield
    assert not hasattr(FastAPI(), "_is_instrumented_by_opentelemetry")
