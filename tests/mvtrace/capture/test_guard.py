"""Tracing that fails: the application must not notice, and somebody must be told."""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
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
from mvtrace.capture.guard import BREAKER, ERRORS, fail_open
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
    (Incoming, "caller"),
    (Incoming, "parent_context"),
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


PAUSE_S = 10.0


class Clock:
    """The breaker's time, which passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the breaker looks at."""
    made = Clock()
    monkeypatch.setattr("mvtrace.capture.guard.time", made)
    return made


@pytest.fixture
def hasty(captured: Captured, clock: Clock) -> Captured:
    """Tracing whose breaker opens after 5 errors."""
    options = {"url": captured.sink.url, "spool_dir": captured.tracing.config.spool_dir}
    captured.tracing = mvtrace.configure(
        **options, breaker_errors=5, breaker_window_s=5.0, breaker_pause_s=PAUSE_S
    )
    return captured


def test_breaker_opens_once(
    hasty: Captured, broken_begin: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    """
    After so many errors capture is off and says so in one line; the requests meanwhile are counted
    and have numbers of their own, and nothing of ours runs for them.
    """
    errors, not_captured = BREAKER.errors, BREAKER.not_captured

    call(5 + 3)

    assert BREAKER.is_open
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert said == ["Capture is off for 10 s after 5 internal errors; the last: Broken()"]
    stats = hasty.tracing.stats()
    assert (stats["capture_errors"] - errors, stats["breaker_is_open"]) == (5, 1)
    assert stats["requests_not_captured"] - not_captured == 3
    assert hasty.tracing.next_sequence() == 9


def test_breaker_closes_by_itself(
    hasty: Captured,
    clock: Clock,
    broken_begin: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    After the pause it is tried again; once a request is recorded, capture is on again.
    """
    call(5)
    broken_begin()
    call(1)
    clock.pass_by(PAUSE_S)

    call(2)

    assert not BREAKER.is_open
    assert [record.sequence for record in hasty.records] == [7, 8]
    assert hasty.tracing.stats()["breaker_is_open"] == 0
    assert caplog.messages[-1] == "Capture is on again: a request was recorded"


def test_breaker_tries_less_and_less_often(
    hasty: Captured,
    clock: Clock,
    broken_begin: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    The first error of a trial opens the breaker anew, for twice the time; none of it is said again.
    """
    call(5)
    clock.pass_by(PAUSE_S)
    errors = BREAKER.errors

    call(3)
    clock.pass_by(PAUSE_S * 1.2)
    call(3)
    assert BREAKER.errors - errors == 1
    clock.pass_by(PAUSE_S * 1.2)
    call(3)

    assert BREAKER.errors - errors == 2
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1


def test_request_in_progress_is_recorded_whole(
    hasty: Captured, broken_begin: Callable[[], None]
) -> None:
    """
    A request that began before the breaker opened is recorded with all of its calls.
    """
    with mvtrace.request(route="long"):
        contextvars.Context().run(call, 5)
        assert BREAKER.is_open
        with mvtrace.tool("after"):
            pass

    [record] = [record for record in hasty.records if record.route == "long"]
    assert [found.name for found in record.calls] == ["after"]


def test_calls_outside_of_requests_close_the_breaker(
    hasty: Captured, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A process that has calls but no requests recovers as well.
    """
    with monkeypatch.context() as patch:
        patch.setattr(Call, "start_attributes", lambda self: 1 // 0)
        for _ in range(6):
            with mvtrace.tool("t"):
                pass
    assert BREAKER.is_open
    clock.pass_by(PAUSE_S)

    with mvtrace.tool("t"):
        pass

    assert not BREAKER.is_open
    assert [span.name for span in hasty.spans] == ["execute_tool t"]


def test_configuration_closes_the_breaker(
    hasty: Captured, broken_begin: Callable[[], None]
) -> None:
    """
    A new configuration switches capture on at once.
    """
    call(5)
    broken_begin()
    options = {"url": hasty.sink.url, "spool_dir": hasty.tracing.config.spool_dir}

    hasty.tracing = mvtrace.configure(**options)
    call(1)

    assert hasty.record.outcome == "ok"
    hasty.tracing.shutdown()


@pytest.mark.parametrize(("failing", "is_open"), [(1, False), (2, False), (8, True)])
def test_breaker_looks_at_the_share(
    captured: Captured, monkeypatch: pytest.MonkeyPatch, failing: int, is_open: bool
) -> None:
    """
    A request that is recorded makes good for one that is not: of ten requests one or two may fail
    for ever, and most of them may not.
    """
    for number in range(6 * ERRORS):
        with monkeypatch.context() as patch:
            if number % 10 < failing:
                patch.setattr(middleware, "read_headers", lambda headers: 1 // 0)
            call(1)

    assert BREAKER.is_open is is_open
    numbers = [record.sequence for record in captured.records]
    assert numbers == sorted(numbers)
    assert captured.tracing.next_sequence() == 6 * ERRORS + 1


def test_errors_far_apart_do_not_open_the_breaker(
    captured: Captured, broken_begin: Callable[[], None]
) -> None:
    """
    An error later than the window after the one before is a first one.
    """
    options = {"url": captured.sink.url, "spool_dir": captured.tracing.config.spool_dir}
    captured.tracing = mvtrace.configure(**options, breaker_errors=2, breaker_window_s=0.02)

    for _ in range(3):
        call(1)
        time.sleep(0.05)

    assert not BREAKER.is_open
    captured.tracing.shutdown()


def test_nested_middleware_while_capture_is_off(
    hasty: Captured, broken_begin: Callable[[], None]
) -> None:
    """
    A request through two of our middlewares that is not captured counts once.
    """
    call(5)
    not_captured = BREAKER.not_captured
    talk = Conversation(REQUEST)

    talk.run(mvtrace.TraceMiddleware(mvtrace.TraceMiddleware(app)), http_scope())

    assert talk.sent == EXPECTED
    assert BREAKER.not_captured - not_captured == 1
    assert hasty.tracing.next_sequence() == 7


def test_stream_while_tracing_is_disabled(tmp_path: Path) -> None:
    """
    A call that is not captured takes what is said about it without an error.
    """
    mvtrace.configure(spool_dir=tmp_path, disabled=True)
    errors = BREAKER.errors

    with mvtrace.generation("g", model="m") as stream:
        for _ in range(ERRORS + 1):
            stream.chunk("y")
        stream.rendered("x")
        stream.response(model="m", text="y", usage={"input_tokens": 1})

        current = mvtrace.current_call()
        assert current is stream

    assert (BREAKER.errors - errors, BREAKER.is_open) == (0, False)


def test_logging_of_the_application_that_raises(
    captured: Captured, broken_begin: Callable[[], None]
) -> None:
    """
    An application whose log filter raises sees nothing of our errors either.
    """

    def refuse(record: logging.LogRecord) -> bool:
        raise Broken

    logger = logging.getLogger("mvtrace")
    logger.addFilter(refuse)
    try:
        call(ERRORS + 1)
    finally:
        logger.removeFilter(refuse)

    assert BREAKER.is_open


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
