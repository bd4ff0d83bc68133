"""Generated applications: whatever they do, a server sees the same with tracing on, off or broken.

Compared message by message where the server stands; the one header that mvtrace adds is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi import Conversation, Message, http_scope, websocket_scope
from breaking import broken, functions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sink import Sink
from thorough_app import without_ours

import mvtrace
from mvtrace.capture.guard import BREAKER
from mvtrace.capture.pipeline import current_tracing

OPEN = ("http", "middleware", "websocket")
"""Modules whose own steps pass messages on: they are not broken as a whole."""
INNER = [
    function
    for name, function in functions().items()
    if name.partition(".")[0] not in {*OPEN, "guard", "pipeline", "decorator", "calls", "task"}
]


class Own(Exception):
    """What an application raises itself."""


names = st.sampled_from([b"a", b"A", b"Content-Type", b"set-cookie", b"Set-Cookie", b"x-Y"])
values = st.binary(max_size=8)
headers = st.lists(st.tuples(names, values), max_size=5)
chunks = st.lists(st.binary(max_size=12), max_size=5)
errors = st.sampled_from(
    [Own, OSError, ValueError, asyncio.CancelledError, KeyboardInterrupt, SystemExit, RuntimeError]
)
disconnect = st.just({"type": "http.disconnect"})
requests = st.lists(
    st.builds(
        lambda data, more: {"type": "http.request", "body": data, "more_body": more},
        st.binary(max_size=8),
        st.booleans(),
    )
    | disconnect,
    min_size=1,
    max_size=3,
)


@st.composite
def http_steps(draw: st.DrawFn) -> list[Any]:
    """Return what an application does: messages it sends or receives, and how it ends."""
    start: Message = {
        "type": "http.response.start",
        "status": draw(st.integers(100, 599)),
        "headers": draw(headers),
    }
    has_trailers = draw(st.booleans())
    if has_trailers:
        start["trailers"] = True
    parts = draw(chunks)
    steps: list[Any] = ["receive", start]
    for place, part in enumerate(parts):
        more = place < len(parts) - 1 or draw(st.booleans())
        steps.append({"type": "http.response.body", "body": part, "more_body": more})
    if has_trailers and draw(st.booleans()):
        steps.append({"type": "http.response.trailers", "headers": draw(headers)})
    steps.append(draw(st.sampled_from(["annotate", "call", "receive", {"type": "x.unknown"}])))
    if draw(st.booleans()):
        steps.insert(draw(st.integers(0, len(steps))), draw(errors))
    return steps


@st.composite
def websocket_steps(draw: st.DrawFn) -> list[Any]:
    """Return what an application does on a websocket."""
    accept = {"type": "websocket.accept", "subprotocol": None, "headers": draw(headers)}
    denial = [
        {"type": "websocket.http.response.start", "status": 404, "headers": draw(headers)},
        {"type": "websocket.http.response.body", "body": b"no"},
    ]
    texts = st.builds(lambda text: {"type": "websocket.send", "text": text}, st.text(max_size=5))
    data = st.builds(lambda part: {"type": "websocket.send", "bytes": part}, values)
    close = {"type": "websocket.close", "code": draw(st.integers(1000, 4999)), "reason": "r"}
    talk = draw(st.lists(texts | data | st.just("receive") | st.just("call"), max_size=4))
    whole = [accept, *talk, close]
    steps = ["receive", *draw(st.sampled_from([whole, denial, [close]]))]
    if draw(st.booleans()):
        steps.insert(draw(st.integers(0, len(steps))), draw(errors))
    return steps


frames = st.lists(
    st.builds(lambda text: {"type": "websocket.receive", "text": text}, st.text(max_size=5)),
    max_size=3,
)
scopes = st.builds(
    lambda version, sent: http_scope(http_version=version, headers=sent),
    st.sampled_from(["1.0", "1.1", "2"]),
    st.lists(st.tuples(names | st.just(b"traceparent") | st.just(b"x-request-id"), values)),
)


def application(steps: list[Any], seen: list[object]) -> Any:
    """Return the application that takes *steps*; *seen* is what it receives."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        for step in steps:
            if step == "receive":
                seen.append(await asyncio.wait_for(receive(), 0.02))
            elif step == "annotate":
                mvtrace.annotate(a=1)
            elif step == "call":
                with mvtrace.tool("t") as call:
                    call.result(1)
            elif isinstance(step, dict):
                await send(step)
            else:
                raise step("own")

    return app


def outcome(
    wrap: Callable[[Any], Any], scope: Message, steps: list[Any], talk: Conversation
) -> list[object]:
    """Return everything that either side of the middleware sees."""
    seen: list[object] = []
    try:
        talk.run(wrap(application(steps, seen)), dict(scope))
        ended = "returned"
    except BaseException as error:  # whatever it is, it is a part of the answer
        ended = repr(error)
    return [list(map(without_ours, talk.sent)), seen, ended]


def bare(app: Any) -> Any:
    return app


def captured(app: Any) -> Any:
    return mvtrace.TraceMiddleware(app)


@pytest.fixture(scope="module", params=["on", "disabled", "no collector, no disk", "broken"])
def state(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Tracing in one of its states, for all examples of a test."""
    folder = tmp_path_factory.mktemp("spool")
    blocked = folder / "file"
    blocked.touch()
    with Sink() as sink:
        if request.param == "no collector, no disk":
            made = mvtrace.configure(url="http://127.0.0.1:9", spool_dir=blocked / "below")
        else:
            is_disabled = request.param == "disabled"
            made = mvtrace.configure(url=sink.url, spool_dir=folder / "on", disabled=is_disabled)
        if request.param == "broken":
            with broken(INNER):
                yield request.param
        else:
            yield request.param
        made.shutdown()


def same(scope: Message, steps: list[Any], make: Callable[[], Conversation]) -> None:
    BREAKER.reset()
    assert current_tracing() is not None
    expected = outcome(bare, scope, steps, make())
    assert outcome(captured, scope, steps, make()) == expected


generated = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_messages_are_not_touched(tmp_path: Path) -> None:
    """
    The application's own message objects are as they were: one may be sent again.
    """
    made = mvtrace.configure(url="http://127.0.0.1:9", spool_dir=tmp_path, exit_grace_s=0)
    sent = {"type": "http.response.start", "status": 200, "headers": ((b"A", b"1"),)}
    talk = Conversation({"type": "http.request"})

    talk.run(captured(application(["receive", sent], [])), http_scope())

    assert sent == {"type": "http.response.start", "status": 200, "headers": ((b"A", b"1"),)}
    assert talk.sent[0] is not sent
    made.shutdown()


@generated
@given(scope=scopes, steps=http_steps(), incoming=requests, fail_at=st.none() | st.integers(0, 6))
def test_http(
    state: str, scope: Message, steps: list[Any], incoming: list[Message], fail_at: int | None
) -> None:
    """
    HTTP: any status, headers, chunks, trailers, error or disconnect at any point passes unchanged.
    """
    incoming = [*incoming, {"type": "http.disconnect"}]
    same(scope, steps, lambda: Conversation(*incoming, fail_send_at=fail_at))


@generated
@given(steps=websocket_steps(), incoming=frames, code=st.sampled_from([1000, 1001, 1005, 1006]))
def test_websocket(state: str, steps: list[Any], incoming: list[Message], code: int) -> None:
    """
    Websockets: any order of messages, denials, errors and close codes passes unchanged.
    """
    left = {"type": "websocket.disconnect", "code": code}
    talk = [{"type": "websocket.connect"}, *incoming, left, left, left]
    same(websocket_scope(), steps, lambda: Conversation(*talk))
