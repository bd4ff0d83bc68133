from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mvtrace.errors import ConfigurationError
from mvtrace_collector import server
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.limits import Limits

CONFIG = CollectorConfig(store="chdb:///unused", port=0)


async def _echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


@contextlib.contextmanager
def serving(limits: Limits) -> Iterator[tuple[str, int]]:
    """Run a server in a thread, as the tests of signals run it in a process."""
    app = Starlette(routes=[Route("/", _echo, methods=["GET", "POST"])])
    with server.bind(CONFIG) as listener:
        address = listener.getsockname()
        running = server.build_server(app, replace(CONFIG, limits=limits, port=address[1]))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield address
        finally:
            running.should_exit = True
            thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with serving(Limits(header_seconds=0.5)) as where:
        yield where


def talk(address: tuple[str, int], *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send *parts* and return all that comes back until the server closes."""
    with socket.create_connection(address, timeout=5) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause_s)
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                heard += part
        return heard


def test_a_request_is_answered(address: tuple[str, int]) -> None:
    """
    Keep-alive, pipelining and chunked bodies work.
    """
    first = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"
    second = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"

    heard = talk(address, first + second + last)

    assert heard.count(b"HTTP/1.1 200 OK") == 3
    assert [part[:1] for part in heard.split(b"\r\n\r\n")[1:]] == [b"3", b"2", b"0"]
    assert b"server:" not in heard.lower()


def test_headers_that_drip_in_are_cut_off(address: tuple[str, int]) -> None:
    """
    A byte at a time does not keep a connection open, nor does silence.
    """
    started = time.monotonic()
    dripped = talk(
        address, *[bytes([one]) for one in b"GET / HTTP/1.1\r\nhost: a\r\n"], pause_s=0.05
    )
    silent = talk(address)

    assert (dripped, silent) == (b"", b"")
    assert time.monotonic() - started < 4


def test_headers_that_drip_in_after_an_answer_are_cut_off(address: tuple[str, int]) -> None:
    """
    The same holds for the second request of a connection.
    """
    first = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"

    heard = talk(address, first, b"G", b"E", b"T", pause_s=0.3)

    assert heard.count(b"HTTP/1.1 200 OK") == 1


def test_a_slow_body_is_not_a_slow_header(address: tuple[str, int]) -> None:
    """
    Once the headers are there, their clock stands.
    """
    head = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\n"

    heard = talk(address, head, b"a", b"b", b"c", b"d", pause_s=0.2)

    assert b"200 OK" in heard


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 2_000_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n" + b"a: b\r\n" * 300_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(address: tuple[str, int], request_bytes: bytes) -> None:
    """
    Oversized and malformed headers get 400 or 431 and a closed connection.
    """
    heard = talk(address, request_bytes)

    assert heard.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))


def test_too_many_connections_are_told_to_come_again() -> None:
    """
    Over the limit of connections the answer is 503, which exporters retry.
    """
    with serving(Limits(connections=3)) as address, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(address, timeout=5))
        time.sleep(0.2)
        heard = talk(address, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")

    assert heard.startswith(b"HTTP/1.1 503")


def test_a_port_in_use_is_told() -> None:
    """
    The message names the address and says that port 0 takes a free one.
    """
    with server.bind(CONFIG) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            server.bind(CONFIG.with_port(port))

    assert caught.value.message == (
        f"--listen is '127.0.0.1:{port}'; the system refuses it: Address already in use."
    )
    assert caught.value.hint == "Another process may have the port; port 0 takes a free one."
