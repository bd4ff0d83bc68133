"""Spans of our own, where the application has no OpenTelemetry SDK set up."""

from __future__ import annotations

import pytest
from captured import Captured
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

import mvtrace
from mvtrace.capture.lean import MAX_ATTRIBUTES, LeanSpan, LeanTracer
from mvtrace.capture.pipeline import Tracing
from mvtrace.otlp import FinishedSpan

pytestmark = pytest.mark.usefixtures("tracing")


@pytest.fixture
def ended() -> list[FinishedSpan]:
    return []


@pytest.fixture
def tracer(ended: list[FinishedSpan]) -> LeanTracer:
    return LeanTracer(ended.extend)


def test_which_spans_are_ours(tracing: Tracing, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Own spans are lean where nobody else could see them, and the SDK's where somebody could.
    """
    assert isinstance(tracing.tracer, LeanTracer)

    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    options = {"url": tracing.config.url, "spool_dir": tracing.config.spool_dir}
    sampled = mvtrace.configure(**options)
    assert not isinstance(sampled.tracer, LeanTracer)
    assert not sampled.tracer.start_span("x").is_recording()
    sampled.shutdown()


def test_global_provider_wins(captured: Captured, provider: TracerProvider) -> None:
    """
    With a provider of the application set, our spans are its spans.
    """
    assert not isinstance(captured.tracing.tracer, LeanTracer)


def test_everything_a_span_can_say(tracer: LeanTracer, ended: list[FinishedSpan]) -> None:
    """
    Name, kind, times, attributes, events, links and status are on the finished span.
    """
    other = tracer.start_span("other")
    with tracer.start_as_current_span("first", kind=SpanKind.CLIENT, start_time=5) as span:
        inner = tracer.start_span(
            "inner", attributes={"a": 1}, links=[Link(other.get_span_context(), {"l": 2})]
        )
        inner.set_attribute("b", (1, 2))
        inner.add_event("moment", {"e": 3}, timestamp=7)
        inner.record_exception(ValueError("secret"))
        inner.set_status(StatusCode.ERROR, "bad")
        inner.update_name("renamed")
        inner.end(9)
        inner.end(10)
        inner.set_attribute("late", 1)
        span.set_status(Status(StatusCode.OK))

    found, outer = ended
    assert (found.name, found.kind, found.end_time_unix_nano) == ("renamed", 1, 9)
    assert found.attributes == {"a": 1, "b": (1, 2)}
    assert [(event.name, event.attributes) for event in found.events] == [
        ("moment", {"e": 3}),
        ("exception", {"exception.type": "ValueError"}),
    ]
    assert [link.attributes for link in found.links] == [{"l": 2}]
    assert (found.status_code, found.status_message) == (2, "bad")
    assert found.parent_span_id == outer.span_id
    assert found.trace_id == outer.trace_id
    assert (outer.kind, outer.start_time_unix_nano, outer.status_code) == (3, 5, 1)


def test_too_many_attributes(tracer: LeanTracer, ended: list[FinishedSpan]) -> None:
    """
    Attributes above the limit are left out and counted.
    """
    span = tracer.start_span("x", attributes={str(n): n for n in range(MAX_ATTRIBUTES + 3)})
    span.end()

    assert (len(ended[0].attributes), ended[0].dropped_attributes) == (MAX_ATTRIBUTES, 3)


def test_code_of_the_application_sees_our_span(captured: Captured) -> None:
    """
    What the application puts on the current span inside a request is delivered.
    """
    with mvtrace.request(route="r"), mvtrace.tool("t"):
        current = trace.get_current_span()
        assert isinstance(current, LeanSpan)
        current.set_attribute("own", "fact")
        current.add_event("happened")

    assert captured.span("execute_tool t").attributes["own"] == "fact"


def test_flags_of_the_caller_are_passed_on(captured: Captured) -> None:
    """
    A caller that samples nothing keeps its decision towards the services we call.
    """
    headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}

    with mvtrace.request(route="r", headers=headers):
        said = mvtrace.propagation_headers("http://other/")

    assert said["traceparent"].endswith("-00")
    assert captured.record.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
