"""Tracing that fails: the application must not notice, and somebody must be told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgi import REQUEST, Conversation, body, http_scope, start
from captured import Captured
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

import mvtrace
from mvtrace.capture import exchange as exchange_module
from mvtrace.capture import http, middleware, model_calls
from mvtrace.capture.calls import Call
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import BREAKER, MAX_ERRORS_IN_A_ROW, fail_open
from mvtrace.capture.http import AsgiExchange, HttpExchange
from mvtrace.capture.incoming import Incoming
from mvtrace.capture.pipeline import Tracing
from mvtrace.capture.watch import Watch

pytestmark = pytest.mark.usefixtures("tracing")


class Broken(Exception):
    """What a broken part of mvtrace raises."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    mvtrace.annotate(a=1)
    with mvtrace.generation("g", model="m", prompt="p", seed=1) as call:
        call.rendered("x")
        call.chunk("y")
        call.response(model="m", id="r", input_tokens=1, text="y")
    await send(start())
    await send(body(b"one", more=True))
    await send(body(b"two"))


EXPECTED = [start(), body(b"one", more=True), body(b"two")]

PARTS: list[tuple[Any, str]] = [
    (AsgiExchange, "with_request_id"),
    (AsgiExchange, "conclude"),
    (Call, "as_record"),
    (Call, "attach"),
    (Call, "compare"),
    (Call, "end_attributes"),
    (Call, "open"),
    (Call, "start_attributes"),
    (HttpExchange, "end_attributes"),
    (HttpExchange, "note_received"),
    (HttpExchange, "note_sent"),
    (HttpExchange, "note_start"),
    (HttpExchange, "start_attributes"),
    (Incoming, "parent_context"),
    (Incoming, "parent_request_id"),
    (RequestExchange, "add_alias"),
    (RequestExchange, "add_call"),
    (RequestExchange, "add_span"),
    (RequestExchange, "annotate"),
    (RequestExchange, "enter"),
    (RequestExchange, "leave"),
    (RequestExchange, "record"),
    (RequestExchange, "transfer_facts"),
    (Tracing, "attach"),
    (Tracing, "emit_request"),
    (Tracing, "keyed_digest"),
    (Tracing, "next_sequence"),
    (Watch, "add"),
    (Watch, "forget"),
    (exchange_module, "new_request_id"),
    (http, "route_of"),
    (middleware, "current_tracing"),
    (middleware, "declared_by"),
    (middleware, "read_headers"),
    (model_calls, "facts_of"),
    (model_calls, "usage_of"),
]


@pytest.mark.parametrize(("owner", "name"), PARTS, ids=lambda part: getattr(part, "__name__", part))
def test_any_part_may_fail(
    monkeypatch: pytest.MonkeyPatch, tracing: Tracing, owner: Any, name: str
) -> None:
    """
    Whatever of ours raises, status, body and every other header of the answer are the same.
    """

    def broken(*args: object, **kwargs: object) -> None:
        raise Broken(name)

    is_guarded = hasattr(getattr(owner, name), "__wrapped__")
    monkeypatch.setattr(owner, name, fail_open(broken) if is_guarded else broken)
    talk = Conversation(REQUEST)
    headers = [(b"x-request-id", b"mine"), (b"traceparent", b"00-" + b"a" * 32 + b"-1-01")]

    talk.run(mvtrace.TraceMiddleware(app), http_scope(headers=headers))

    for message in talk.sent:
        if "headers" in message:
            message["headers"] = [h for h in message["headers"] if b"mvtrace" not in h[0]]
    assert talk.sent == EXPECTED
    assert mvtrace.current_request_id() is None or name in {"leave", "forget"}


@pytest.fixture
def broken_begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Make the start of every request fail; the function given mends it."""

    def broken(*args: object) -> None:
        raise Broken

    with monkeypatch.context() as patch:
        patch.setattr(middleware, "read_headers", broken)
        yield patch.undo


def call(count: int) -> None:
    for _ in range(count):
        talk = Conversation(REQUEST)
        talk.run(mvtrace.TraceMiddleware(app), http_scope())
        assert [message["type"] for message in talk.sent] == [m["type"] for m in EXPECTED]


def test_breaker(
    captured: Captured, broken_begin: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    """
    After many errors in a row, without one recorded request, tracing is off and says so once; a new
    configuration switches it on again.
    """
    call(MAX_ERRORS_IN_A_ROW + 5)

    assert BREAKER.is_open
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert said == ["Tracing is off after 20 internal errors in a row; the last: Broken()"]
    broken_begin()
    call(1)
    assert captured.all_records == []

    options = {"url": captured.sink.url, "spool_dir": captured.tracing.config.spool_dir}
    captured.tracing = mvtrace.configure(**options)
    call(1)
    assert captured.record.outcome == "ok"
    captured.tracing.shutdown()


def test_breaker_counts_errors_in_a_row(
    captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A request that is recorded starts the count anew: rare errors never switch tracing off.
    """
    for number in range(3 * MAX_ERRORS_IN_A_ROW):
        if number % 10:
            with monkeypatch.context() as patch:
                patch.setattr(middleware, "read_headers", lambda headers: 1 // 0)
                call(1)
        else:
            call(1)

    assert not BREAKER.is_open
    assert len(captured.records) == 6
    sequences = {record.sequence for record in captured.records}
    assert sequences == {1, 11, 21, 31, 41, 51}


def test_many_errors_in_one_request(captured: Captured) -> None:
    """
    One request with many mistakes counts them, and does not switch tracing off for all others.
    """
    with mvtrace.request(route="r"), mvtrace.retrieval("x") as retrieval:
        for _ in range(100):
            retrieval.documents(5)  # type: ignore[arg-type]

    assert not BREAKER.is_open
    assert captured.record.capture is not None
    assert captured.record.capture.errors == 100


def test_processor_of_the_application_that_raises(
    captured: Captured, provider: TracerProvider
) -> None:
    """
    A span processor of the application that raises takes no part of the record with it.
    """

    class Raising(SpanProcessor):
        def on_start(self, span: Span, parent_context: Any = None) -> None:
            raise Broken

        def on_end(self, span: ReadableSpan) -> None:
            raise Broken

    provider.add_span_processor(Raising())

    call(1)

    record = captured.record
    assert (record.outcome, record.status_code, record.response_bytes) == ("ok", 200, 6)
    assert record.capture is not None
    assert record.capture.errors > 0
