"""Whatever goes wrong on either side of the proxy: a clear answer, an honest record, no leftovers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from asgi import Conversation, websocket_scope
from captured import Captured
from obligations import wait_for
from openai_wire import STREAM
from raw_http import Connection, RawServer, named

from mvtrace.errors import ConfigurationError
from mvtrace.proxy.forward import Proxy
from mvtrace.proxy.refusals import UPGRADE
from mvtrace.proxy.server import bound
from mvtrace.proxy.upstream import Upstream
from mvtrace.records import RequestRecord

GET = b"GET /v1/models HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: here\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def refused(port: int, *request: bytes) -> tuple[bytes, str]:
    """Status line and error code of an answer that is the proxy's own."""
    with Connection.to(port) as client:
        client.send(*request)
        first, headers, body = client.message()
    assert named(headers)[b"content-type"] == b"application/json"
    error = json.loads(body)["error"]
    assert error["type"] == "mvtrace_proxy"
    assert error["message"]
    return first[9:12], error["code"]


def finished(captured: Captured) -> RequestRecord:
    """The one record; the client has the answer a moment before the record is made."""
    deadline = time.monotonic() + 10
    while not captured.records and time.monotonic() < deadline:
        time.sleep(0.01)
    return captured.record


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_upstream_is_down(captured: Captured, start_proxy: Callable[..., int]) -> None:
    """
    Nobody listens there: 502, with a body that clients can read, also to an upload.
    """
    proxy = start_proxy(f"http://127.0.0.1:{closed_port()}")

    assert refused(proxy, GET) == (b"502", "upstream-unreachable")
    upload = POST + b"Content-Length: 9\r\n\r\n123456789"
    assert refused(proxy, upload) == (b"502", "upstream-unreachable")
    assert {(record.status_code, record.outcome) for record in captured.records} <= {(502, "error")}


def test_upstream_closes_instead_of_answering(proxy: int, upstream: RawServer) -> None:
    """
    A connection that ends without an answer is a 502 of its own kind.
    """
    upstream.handle = lambda connection: connection.head() and None

    assert refused(proxy, GET) == (b"502", "upstream-broken")


def test_upstream_says_nothing(start_proxy: Callable[..., int], upstream: RawServer) -> None:
    """
    An upstream that is silent for longer than the timeout is a 504, and its connection is closed.
    """
    ended: list[bool] = []

    def handle(connection: Connection) -> None:
        connection.head()
        ended.append(connection.is_ended())

    upstream.handle = handle

    assert refused(start_proxy(upstream.url, 0.3), GET) == (b"504", "upstream-timeout")
    wait_for(lambda: ended == [True], 10, "the connection to upstream stays open")


def test_an_answer_that_breaks_off(captured: Captured, proxy: int, upstream: RawServer) -> None:
    """
    Half an answer is half an answer for the client too, never a whole one; the record says why.
    """

    def handle(connection: Connection) -> None:
        connection.head()
        connection.send(OK, b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")

    upstream.handle = handle
    with Connection.to(proxy) as client:
        client.send(GET)
        client.head()
        assert client.chunk() == b"hello"
        assert client.is_ended()

    record = finished(captured)
    assert record.outcome == "error"
    assert record.error_type == "mvtrace.proxy.forward.UpstreamBrokenError"


@pytest.mark.parametrize("moment", ["upload", "silence", "stream"])
def test_a_client_that_leaves(
    captured: Captured, proxy: int, upstream: RawServer, moment: str
) -> None:
    """
    Wherever the request is when the client leaves, the upstream's connection ends at once.
    """
    reached, ended = threading.Event(), threading.Event()

    def handle(connection: Connection) -> None:
        connection.head()
        if moment == "upload":
            connection.exactly(3)
        elif moment == "stream":
            connection.send(OK, b"Content-Length: 100\r\n\r\nabc")
        reached.set()
        if connection.is_ended():
            ended.set()

    upstream.handle = handle
    with Connection.to(proxy) as client:
        if moment == "upload":
            client.send(POST, b"Content-Length: 9\r\n\r\n123")
        else:
            client.send(GET)
        assert reached.wait(20)
        if moment == "stream":
            client.head()
            assert client.exactly(3) == b"abc"

    assert ended.wait(10)
    assert finished(captured).outcome == "client_disconnected"


def test_an_answer_before_the_body_is_sent(proxy: int, upstream: RawServer) -> None:
    """
    What the upstream answers before it has read the body reaches the client.
    """

    def handle(connection: Connection) -> None:
        connection.head()
        connection.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        while connection.receive():
            pass

    upstream.handle = handle
    size = 4 << 20
    with Connection.to(proxy) as client:
        client.send(POST, b"Content-Length: %d\r\n\r\n" % size, bytes(size))

        assert client.head()[0].startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        (b"GET /live HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade", b"501"),
        (b"CONNECT example.org:443 HTTP/1.1", b"501"),
        (b"GET http://example.org/ HTTP/1.1", b"400"),
        (b"OPTIONS * HTTP/1.1", b"400"),
    ],
)
def test_what_is_not_passed_on(
    proxy: int, upstream: RawServer, request_line: bytes, expected: bytes
) -> None:
    """
    Websockets, tunnels and targets that are no path get a clear no, and the upstream hears nothing.
    """
    status, code = refused(proxy, request_line + b"\r\nHost: here\r\n\r\n")

    assert status == expected
    assert code == ("upgrade-unsupported" if status == b"501" else "bad-target")
    assert upstream.connections == 0


@pytest.mark.parametrize("extensions", [{}, {"websocket.http.response": {}}])
def test_websockets_of_other_servers(extensions: dict[str, Any]) -> None:
    """
    A server that hands websockets over gets a close, or a 501 where it can send one.
    """
    conversation = Conversation({"type": "websocket.connect"})
    proxy = Proxy(Upstream.parse("http://127.0.0.1:1"))

    conversation.run(proxy, {**websocket_scope(), "extensions": extensions})

    first = conversation.sent[0]
    assert (first.get("status"), first.get("reason")) in {(501, None), (None, UPGRADE.message)}
    assert (first.get("status") == 501) == bool(extensions)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:8000", "http://HOST"),
        ("ftp://here/", "http://HOST"),
        ("http://", "http://HOST"),
        ("http://here:port", "no URL"),
        ("http://here:99999", "no URL"),
        ("http://me:secret@here/", "no user or password"),
        ("http://here/?key=secret", "ends with its path"),
        ("http://here/#x", "ends with its path"),
        ("http://höst/", "http://HOST"),
    ],
)
def test_upstreams_that_are_none(url: str, said: str) -> None:
    """
    A URL that requests cannot be sent to is refused at the start, without showing a password.
    """
    with pytest.raises(ConfigurationError, match=said) as caught:
        Upstream.parse(url)

    assert "me:secret" not in caught.value.message


@pytest.mark.parametrize("listen", ["8080", "here", "::1:80", "127.0.0.1:http", "127.0.0.1:99999"])
def test_addresses_that_are_none(listen: str) -> None:
    """
    An address to listen at that is none is refused.
    """
    with pytest.raises(ConfigurationError, match="--listen"):
        bound(listen)


def test_events_of_a_stream_are_whole(captured: Captured, proxy: int, upstream: RawServer) -> None:
    """
    A chat that streams through has its evidence: model, tokens, end, route and who answered.
    """
    pieces = [STREAM[start : start + 9] for start in range(0, len(STREAM), 9)]
    upstream.answer = [OK, b"Content-Length: %d\r\n\r\n" % len(STREAM), *pieces]
    asked = b'{"model": "m", "stream": true, "messages": []}'
    with Connection.to(proxy) as client:
        client.send(POST, b"Content-Length: %d\r\n\r\n" % len(asked), asked)
        _, headers, body = client.message()

    record = finished(captured)
    [call] = record.calls
    assert body == STREAM
    assert named(headers)[b"x-mvtrace-request-id"].decode() == record.request_id
    assert (record.route, record.outcome) == ("/v1/chat/completions", "ok")
    assert (call.model_requested, call.model_served, call.finish_reason) == ("m", "m-2024", "stop")
    assert record.annotations == {"upstream": upstream.url}
