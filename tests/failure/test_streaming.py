"""Streams over real connections: one record each, with the right end, whoever breaks off."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn
from captured import Captured, records_of
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.sync.client import connect

import mvtrace
from mvtrace.records import RequestRecord

CHUNK = b"x" * 4096


async def pieces(count: int, rest_s: float) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield CHUNK
        await asyncio.sleep(rest_s)


def stream(request: Request) -> Response:
    return StreamingResponse(pieces(request.path_params["count"], 0.01))


async def late(request: Request) -> Response:
    """Begin to answer only after the client had time to leave."""
    await asyncio.sleep(0.3)
    return StreamingResponse(pieces(3, 0.05))


def torn(request: Request) -> Response:
    async def some() -> AsyncIterator[bytes]:
        yield CHUNK
        raise LookupError("in the middle")

    return StreamingResponse(some())


def with_work(request: Request) -> Response:
    async def work() -> None:
        await asyncio.sleep(0.05)
        with mvtrace.tool("afterwards"):
            pass
        if request.query_params:
            raise LookupError("after the answer")

    return PlainTextResponse("done", background=BackgroundTask(work))


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        if text.startswith("close"):
            await websocket.close(int(text.split()[1]))
            return
        if text == "raise":
            raise LookupError("in a conversation")
        await websocket.send_text(text)


@pytest.fixture
def port(captured: Captured) -> Iterator[int]:
    """The port of a real uvicorn that serves all of the above, traced."""
    app = Starlette(
        routes=[
            Route("/stream/{count:int}", stream),
            Route("/late", late),
            Route("/torn", torn),
            Route("/work", with_work),
            WebSocketRoute("/talk", talk),
        ]
    )
    config = uvicorn.Config(
        mvtrace.TraceMiddleware(app),
        ws="websockets-sansio",
        log_level="critical",
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def asking(port: int, path: str, version: str = "1.1") -> Iterator[socket.socket]:
    """Send a GET over a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/{version}\r\nHost: here\r\n\r\n".encode())
        yield connection


def read_all(connection: socket.socket) -> bytes:
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


def read_until(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        data += connection.recv(65536)
    return data


def reset(connection: socket.socket) -> None:
    """Close with a RST, as a client that is killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def one_record(captured: Captured) -> RequestRecord:
    """Return the one finished record, after time for a second one to come."""

    def finished() -> list[RequestRecord]:
        return [record for record in records_of(captured.sink) if record.state == "finished"]

    captured.sink.wait_for(lambda _: captured.tracing.flush(10) and finished())
    time.sleep(0.15)
    captured.flush()
    [request_id] = {record.request_id for record in finished()}
    last = max(finished(), key=lambda record: record.revision)
    assert last.request_id == request_id
    assert last.ended_at is not None
    return last


def seen(record: RequestRecord) -> tuple[str | None, str | None, int | None]:
    return record.outcome, record.error_type, record.status_code


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["close", "reset"])
def test_left_before_the_start(captured: Captured, port: int, leave: object) -> None:
    """
    A client that leaves before the answer begins: one record, as left by the client.
    """
    with asking(port, "/late") as connection:
        leave(connection)  # type: ignore[operator]

    record = one_record(captured)
    assert (record.outcome, record.error_type) == ("client_disconnected", None)
    assert record.response_bytes in {0, None, *(n * len(CHUNK) for n in range(4))}


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["close", "reset"])
def test_left_in_the_middle(captured: Captured, port: int, leave: object) -> None:
    """
    A client that leaves during the stream: one record, with what was sent until then.
    """
    with asking(port, "/stream/100000") as connection:
        read_until(connection, CHUNK)
        leave(connection)  # type: ignore[operator]

    record = one_record(captured)
    assert seen(record) == ("client_disconnected", None, 200)
    assert len(CHUNK) <= (record.response_bytes or 0) < 1000 * len(CHUNK)


def test_left_after_the_last(captured: Captured, port: int) -> None:
    """
    A client that leaves once it has everything: the answer was whole.
    """
    with asking(port, "/stream/3") as connection:
        read_until(connection, b"\r\n0\r\n\r\n")
        reset(connection)

    record = one_record(captured)
    assert seen(record) == ("ok", None, 200)
    assert (record.response_chunks, record.response_bytes) == (3, 3 * len(CHUNK))


def test_generator_that_raises(captured: Captured, port: int) -> None:
    """
    A generator that raises tears the connection, as it does untraced; the record names the error.
    """
    with asking(port, "/torn") as connection:
        data = read_all(connection)

    record = one_record(captured)
    assert data.endswith(CHUNK + b"\r\n")
    assert seen(record) == ("error", "LookupError", 200)
    assert record.response_chunks == 1


@pytest.mark.parametrize("path", ["/work", "/work?fail=1"])
def test_background_task(captured: Captured, port: int, path: str) -> None:
    """
    Work after the answer is on the record, does not lengthen it, and does not fail it either.
    """
    with asking(port, path) as connection:
        read_until(connection, b"done")

    record = one_record(captured)
    assert (record.outcome, record.status_code) == ("ok", 200)
    [call] = record.calls
    assert call.name == "afterwards"
    assert record.started_at <= (record.ended_at or 0) <= (call.started_at or 0)


@pytest.mark.parametrize("path", ["/stream/3", "/work"])
def test_http_1_0(captured: Captured, port: int, path: str) -> None:
    """
    HTTP/1.0 has no chunks and ends with the connection: one whole record all the same.
    """
    with asking(port, path, "1.0") as connection:
        data = read_all(connection)

    record = one_record(captured)
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"transfer-encoding" not in data
    assert f"x-mvtrace-request-id: {record.request_id}".encode() in data
    assert seen(record) == ("ok", None, 200)


@pytest.mark.parametrize(
    ("said", "code", "expected"),
    [
        ("", 1000, ("ok", None, 1000)),
        ("", 1001, ("ok", None, 1001)),
        ("", 4321, ("client_disconnected", None, 4321)),
        ("close 1000", None, ("ok", None, 1000)),
        ("close 1011", None, ("error", "1011", 1011)),
        ("close 4001", None, ("ok", None, 4001)),
        ("raise", None, ("error", "LookupError", None)),
    ],
)
def test_websocket(
    captured: Captured,
    port: int,
    said: str,
    code: int | None,
    expected: tuple[str, str | None, int | None],
) -> None:
    """
    A websocket is one record with its close code, whoever closes and with which.
    """
    with connect(f"ws://127.0.0.1:{port}/talk", proxy=None) as connection:
        connection.send("hello")
        assert connection.recv() == "hello"
        if said:
            connection.send(said)
            with contextlib.suppress(Exception):
                connection.recv()
        else:
            connection.close(code or 1000)

    record = one_record(captured)
    assert seen(record) == expected
    assert record.messages_received == (2 if said else 1)


def test_websocket_that_is_cut(captured: Captured, port: int) -> None:
    """
    A websocket whose client vanishes is one record, with the code that the server makes of it.
    """
    with connect(f"ws://127.0.0.1:{port}/talk", proxy=None) as connection:
        connection.send("hello")
        connection.recv()
        connection.socket.shutdown(socket.SHUT_RDWR)

    record = one_record(captured)
    assert (record.status_code, record.outcome) in {
        (1005, "ok"),
        (1006, "client_disconnected"),
    }
