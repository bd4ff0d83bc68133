"""The application never notices: whatever of mvtrace raises, its answers are the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asgi import REQUEST, Conversation, http_scope
from breaking import broken, functions, modules
from captured import Captured, global_provider, records_of
from opentelemetry.sdk.trace import TracerProvider
from thorough_app import SYSTEM, conversations, serve

import mvtrace
from mvtrace.capture.guard import BREAKER

FUNCTIONS = functions()
EDGES = {
    "api.flush": "guarded: _flush",
    "api.propagation_headers": "guarded: _outgoing",
    "api.resume": "guarded: _resumed, _put_back",
    "both.guardrail": "makes a call",
    "both.postprocess": "makes a call",
    "calls.Call.__aenter__": "guarded: open, attach",
    "calls.Call.__aexit__": "guarded: detach, close",
    "calls.Call.__enter__": "guarded: open, attach",
    "calls.Call.__exit__": "guarded: detach, close",
    "calls.Call.__init__": "assigns",
    "calls.Call.fresh": "copies",
    "decorator.Decorator.__call__": "wraps, when the application is imported",
    "decorator.Decorator._around_async_generator": "likewise",
    "decorator.Decorator._around_coroutine": "likewise",
    "decorator.Decorator._around_function": "likewise",
    "decorator.Decorator._around_generator": "likewise",
    "decorator._aclosed": "passes on; guarded: attach, detach",
    "decorator._awaited": "passes on; guarded: attach, detach, close",
    "decorator._closed": "passes on; guarded: attach, detach",
    "exporter.Shipper._run": "loops; guarded: _round",
    "guard.fail_open": "is the guard",
    "guard.note_failure": "is the guard; what it calls may raise",
    "http.AsgiExchange.receive": "passes on; guarded: note_received",
    "http.HttpExchange.send": "passes on; guarded: note_start, note_sent, note_complete",
    "lean.LeanSpan.get_span_context": "passes on; guarded: _make_context",
    "middleware.TraceMiddleware.__call__": "passes on; guarded: _begin, note_exception, finish",
    "middleware.TraceMiddleware.__init__": "assigns",
    "embedding_calls.embedding": "makes a call",
    "model_calls.generation": "makes a call",
    "pipeline.configure": "raises ConfigurationError where a setting cannot be",
    "pipeline.Tracing.__init__": "makes what the application asked for at its start",
    "retrieval_calls.retrieval": "makes a call",
    "step_calls.routing": "makes a call",
    "step_calls.tool": "makes a call",
    "task.TaskRequest.__aenter__": "guarded: _begin",
    "task.TaskRequest.__aexit__": "guarded: note_exception, finish",
    "task.TaskRequest.__enter__": "guarded: _begin",
    "task.TaskRequest.__exit__": "guarded: note_exception, finish",
    "task.TaskRequest.__init__": "assigns",
    "task.request": "makes a request",
    "watch.Watch._watch": "loops; guarded: sweep",
    "websocket.WebSocketExchange.send": "passes on; guarded: note_sent, note_send_failed",
    "writer.SpoolWriter._run": "loops; guarded: _round",
}
"""What runs outside of any guard, and the guarded or trivial steps it consists of."""
INNER = {name: function for name, function in FUNCTIONS.items() if name not in EDGES}


@pytest.fixture(params=["own spans", "SDK"])
def spans_by(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both ways spans are made: mvtrace's own, and those of a provider of the application."""
    if request.param == "SDK":
        with global_provider(TracerProvider(shutdown_on_exit=False)):
            yield request.param
    else:
        yield request.param


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """What a server sees of the bare application."""
    made = mvtrace.configure(disabled=True, spool_dir=tmp_path_factory.mktemp("off"))
    found = conversations(serve)
    made.shutdown()
    return found


def traced() -> Any:
    return mvtrace.TraceMiddleware(serve, composite=SYSTEM, arm="stable")


def records_again(captured: Captured) -> None:
    """Serve one more request and wait until the sink has its record."""
    BREAKER.reset()
    talk = Conversation(REQUEST)
    talk.run(traced(), http_scope())
    [request_id] = [v for k, v in talk.sent[0]["headers"] if k == b"x-mvtrace-request-id"]
    captured.sink.wait_for(
        lambda sink: request_id.decode() in {found.request_id for found in records_of(sink)}
    )


def test_edges_are_few_and_there() -> None:
    """
    What these tests do not break is a short list, each entry of which exists.
    """
    assert set(EDGES) <= set(FUNCTIONS)
    assert len(EDGES) < len(FUNCTIONS) / 10


def test_answers_are_those_of_the_bare_application(
    captured: Captured, expected: list[object], spans_by: str
) -> None:
    """
    With tracing on, a server sees the same messages in the same order, and the same errors.
    """
    errors = BREAKER.errors

    assert conversations(traced()) == expected
    assert BREAKER.errors == errors


def test_everything_raises(captured: Captured, expected: list[object], spans_by: str) -> None:
    """
    With every function of mvtrace broken the answers are the same, and afterwards it works again.
    """
    with broken(INNER.values()):
        assert conversations(traced()) == expected
        assert mvtrace.flush(0.1) is False

    records_again(captured)


@pytest.mark.parametrize("module", modules())
def test_module_raises(
    captured: Captured, expected: list[object], spans_by: str, module: str
) -> None:
    """
    With every function of one module broken the answers are the same, and afterwards it works.
    """
    with broken(f for name, f in INNER.items() if name.partition(".")[0] == module):
        assert conversations(traced()) == expected
        mvtrace.flush(0.05)

    records_again(captured)


@pytest.mark.failure
@pytest.mark.parametrize("name", sorted(INNER))
def test_function_raises(
    captured: Captured, expected: list[object], spans_by: str, name: str
) -> None:
    """
    With one function broken, whichever it is, the answers are the same, and afterwards it works.
    """
    with broken([FUNCTIONS[name]]):
        assert conversations(traced()) == expected
        mvtrace.flush(0.05)

    records_again(captured)
