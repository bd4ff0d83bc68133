"""OpenTelemetry's own Python exporter, unchanged: what it sends comes back by SQL, with its type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue
from processes import Running, collector
from stored_spans import stored_rows, typed

from mvtrace.content import STATUS_DESCRIPTION, is_content

ATTRIBUTES: dict[str, AttributeValue] = {
    "text": "Grüße, 世界 \U0001f600",
    "text.empty": "",
    "text.control": "a\x00b\nc\t'\"\\",
    "text.digits": "5",
    "text.long": "x" * 20_000,
    "bool.true": True,
    "bool.false": False,
    "int": 42,
    "int.zero": 0,
    "int.negative": -1,
    "int.smallest": -(2**63),
    "int.largest": 2**63 - 1,
    "double": 0.1,
    "double.zero": 0.0,
    "double.whole": 5.0,
    "double.small": 5e-324,
    "double.large": 1.7976931348623157e308,
    "texts": ["a", "", "ü'\"\\"],
    "bools": [True, False],
    "ints": [0, -1, 2**63 - 1],
    "doubles": [0.0, 1.5, -2.0],
    "gen_ai.request.model": "a-model",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 0,
    "http.route": "/'; DROP TABLE spans --",
    "__proto__": "=cmd|' /C calc'!A0",
}
CONTENT: dict[str, AttributeValue] = {
    "gen_ai.input.messages": '[{"role":"user"}]',
    "input.value": "a secret question",
}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One collector for the tests of this file."""
    with collector(tmp_path_factory.mktemp("collector")) as one:
        yield one


def json_text(value: Any) -> Any:
    """Return what the store's JSON text of *value* says: doubles keep their point."""
    if isinstance(value, bytes):
        return {"$bytes": value.decode("ascii")}
    return list(value) if isinstance(value, tuple | list) else value


def expected_row(span: ReadableSpan) -> dict[str, Any]:
    """Return what the store must say of a span, from the SDK's own object."""
    context, attributes = span.context, dict(span.attributes or {})
    assert context is not None
    assert span.start_time is not None
    assert span.end_time is not None
    kept = {key: value for key, value in attributes.items() if key not in CONTENT}

    def of_type(kind: type) -> dict[str, Any]:
        return {key: value for key, value in kept.items() if type(value) is kind}

    scope = span.instrumentation_scope
    assert scope is not None
    return {
        "trace_id_hex": f"{context.trace_id:032x}",
        "span_id_hex": f"{context.span_id:016x}",
        "parent_span_id_hex": f"{span.parent.span_id if span.parent else 0:016x}",
        "name": span.name,
        "kind": span.kind.value + 1,
        "start_ns": span.start_time,
        "duration_ns": span.end_time - span.start_time,
        "status_code": span.status.status_code.value,
        "status_message": "",
        "trace_state": context.trace_state.to_header(),
        "scope_name": scope.name,
        "scope_version": scope.version or "",
        "attributes_string": of_type(str),
        "attributes_int": of_type(int),
        "attributes_double": of_type(float),
        "attributes_bool": of_type(bool),
        "attributes_json": {key: list(value) for key, value in of_type(tuple).items()},
        "resource_attributes": {key: json_text(v) for key, v in span.resource.attributes.items()},
        "event_list": [
            (event.timestamp, event.name, {k: json_text(v) for k, v in (event.attributes or {}).items() if not is_content(k)})
            for event in span.events
        ],
        "link_list": [
            (
                f"{link.context.trace_id:032x}",
                f"{link.context.span_id:016x}",
                {k: json_text(v) for k, v in (link.attributes or {}).items()},
            )
            for link in span.links
        ],
        "content_removed": sorted(
            (CONTENT.keys() & attributes.keys())
            | {k for event in span.events for k in event.attributes or () if is_content(k)}
            | ({STATUS_DESCRIPTION} if span.status.description else set())
        ),
    }  # fmt: skip


def make_spans(tracer: Tracer) -> None:
    """Make a trace with every kind of span and every type of value."""
    elsewhere = SpanContext(trace_id=0x5B8E, span_id=0xEEE1, is_remote=True)
    with tracer.start_as_current_span("root", kind=SpanKind.SERVER) as root:
        root.set_attributes({**ATTRIBUTES, **CONTENT})
        root.add_event("an event", {"n": 1, "x": 1.0, "t": "5", "list": ["a"], "b": False})
        for kind in SpanKind:
            with tracer.start_as_current_span(
                f"kind {kind.name}", kind=kind, links=[Link(elsewhere, {"why": "retry", "n": 0})]
            ) as span:
                span.set_attribute("kind", kind.value)
        with tracer.start_as_current_span("failed") as failed:
            failed.record_exception(ValueError("wrong"))
            failed.set_status(Status(StatusCode.ERROR, "it is wrong"))
        with tracer.start_as_current_span("fine") as fine:
            fine.set_status(Status(StatusCode.OK))
    with tracer.start_as_current_span("another trace"):
        pass


@pytest.mark.parametrize("compression", list(Compression))
def test_every_span_and_attribute_comes_back(serving: Running, compression: Compression) -> None:
    """
    Every span the SDK made is a row, with every attribute outside the content list in its type.
    """
    service = f"official-{compression.value}"
    resource = Resource.create({"service.name": service, "replica": 3, "shares": [0.5, 1.0]})
    made = InMemorySpanExporter()
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(made))
    exporter = OTLPSpanExporter(endpoint=f"{serving.url}/v1/traces", compression=compression)
    provider.add_span_processor(BatchSpanProcessor(exporter))

    make_spans(provider.get_tracer("a.library", "1.2.3"))
    provider.shutdown()

    expected = {row["span_id_hex"]: row for row in map(expected_row, made.get_finished_spans())}
    rows = stored_rows(serving.url, service, len(expected))
    assert len(expected) == 9
    assert rows.keys() == expected.keys()
    for span_id, row in expected.items():
        assert typed(rows[span_id]) == typed(row)


def test_content_of_foreign_spans_is_not_stored(serving: Running) -> None:
    """
    Prompts that a foreign sender put on its spans are nowhere in the table.
    """
    text = httpx2.get(
        f"{serving.url}/sql",
        params={"query": "SELECT * FROM spans WHERE service LIKE 'official-%' FORMAT JSONEachRow"},
    ).text

    assert "a secret question" not in text
