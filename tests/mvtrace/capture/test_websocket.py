"""Websockets: one record a connection, whoever ends it and however."""

from __future__ import annotations

from typing import Any

import pytest
from asgi import Conversation, websocket_scope
from captured import Captured
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

import mvtrace

HEADER = b"x-mvtrace-request-id"
CONNECT = {"type": "websocket.connect"}
pytestmark = pytest.mark.usefixtures("tracing")


def left(code: int) -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code}


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        with mvtrace.tool("echo"):
            await websocket.send_text(text)


async def deny(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("not here", status_code=404))


def client() -> TestClient:
    routes = [WebSocketRoute("/live/{room}", echo), WebSocketRoute("/closed", deny)]
    app = Starlette(routes=routes)
    app.add_middleware(mvtrace.TraceMiddleware)
    return TestClient(app)


def test_conversation(captured: Captured) -> None:
    """
    A connection is recorded at accept and at its end, with its messages counted and one span.
    """
    with client().websocket_connect("/live/7", headers={"x-request-id": "mine"}) as socket:
        header = dict(socket.extra_headers or [])[HEADER].decode()
        for text in ("a", "é", "long"):
            socket.send_text(text)
            assert socket.receive_text() == text
        begun = captured.all_records
        socket.close(1000)

    record = captured.record
    assert [(r.state, r.revision, r.request_id) for r in begun] == [("started", 1, header)]
    assert (record.protocol, record.route, record.method) == ("websocket", "/live/{room}", None)
    assert (record.status_code, record.outcome, record.error_type) == (1000, "ok", None)
    assert (record.messages_received, record.response_chunks) == (3, 3)
    assert (record.request_bytes, record.response_bytes) == (7, 7)
    assert [call.name for call in record.calls] == ["echo"] * 3
    assert record.request_id == header
    assert sorted(span.name for span in captured.spans) == ["/live/{room}"] + 3 * [
        "execute_tool echo"
    ]


@pytest.mark.parametrize(
    ("code", "outcome", "error"),
    [
        (1000, "ok", None),
        (4001, "ok", None),
        (1011, "error", "1011"),
        (1013, "error", "1013"),
    ],
)
def test_closed_by_the_server(
    captured: Captured, code: int, outcome: str, error: str | None
) -> None:
    """
    The close code the application sends is the record's status; a fault of the server is an error.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": code})

    Conversation(CONNECT).run(mvtrace.TraceMiddleware(app), websocket_scope())

    record = captured.record
    assert (record.status_code, record.outcome, record.error_type) == (code, outcome, error)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (1000, "ok"),
        (1001, "ok"),
        (1005, "ok"),
        (1006, "client_disconnected"),
        (3000, "client_disconnected"),
    ],
)
def test_left_by_the_client(captured: Captured, code: int, outcome: str) -> None:
    """
    How the client left is the record's status; leaving without a goodbye is a disconnect.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if (await receive())["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(code)

    with pytest.raises(WebSocketDisconnect):
        Conversation(CONNECT, left(code)).run(mvtrace.TraceMiddleware(app), websocket_scope())

    assert (captured.record.status_code, captured.record.outcome) == (code, outcome)


def test_refused_before_accept(captured: Captured) -> None:
    """
    A connection that is closed before it is accepted has the status the server then answers: 403.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close"})

    talk = Conversation(CONNECT)
    talk.run(mvtrace.TraceMiddleware(app), websocket_scope())

    assert (captured.record.status_code, captured.record.outcome) == (403, "ok")
    assert talk.sent == [{"type": "websocket.close"}]


def test_denied_with_an_answer(captured: Captured) -> None:
    """
    A denial with an answer of its own has that status, and our header.
    """
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client().websocket_connect("/closed"),
    ):
        pass

    record = captured.record
    assert (record.status_code, record.path, record.outcome) == (404, None, "ok")
    assert denied.value.headers[HEADER.decode()] == record.request_id


def test_failing_application(captured: Captured) -> None:
    """
    An exception is an error of the connection, and goes on unchanged.
    """
    raised = LookupError("x")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "headers": [(b"a", b"b")]})
        raise raised

    talk = Conversation(CONNECT)
    with pytest.raises(LookupError) as caught:
        talk.run(mvtrace.TraceMiddleware(app), websocket_scope())

    assert caught.value is raised
    assert (captured.record.outcome, captured.record.error_type) == ("error", "LookupError")
    assert talk.sent[0]["headers"] == [
        (b"a", b"b"), (HEADER, captured.record.request_id.encode()),
    ]  # fmt: skip


def test_send_to_a_client_that_is_gone(captured: Captured) -> None:
    """
    A server that cannot send on tells of a client that left.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": b"1234"})

    with pytest.raises(OSError):
        Conversation(CONNECT, fail_send_at=1).run(mvtrace.TraceMiddleware(app), websocket_scope())

    assert captured.record.outcome == "client_disconnected"
