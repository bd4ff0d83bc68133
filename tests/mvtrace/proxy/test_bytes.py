"""What passes the proxy is what was sent, byte for byte, at the pace of the slower side."""

from __future__ import annotations

import gzip
import itertools
import threading
import time
from collections.abc import Callable

import pytest
from captured import Captured
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai_wire import STREAM, WHOLE
from raw_http import Connection, RawServer, chunked, named

from mvtrace.proxy.upstream import Upstream

POST = b"POST /v1/chat/completions?a=%20b&&c HTTP/1.1\r\nHost: here\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
bodies = st.one_of(
    st.binary(max_size=300), st.sampled_from([STREAM, WHOLE, gzip.compress(STREAM * 900)])
)


def cut(body: bytes, at: list[int]) -> list[bytes]:
    """*body* in pieces."""
    places = sorted({place % (len(body) + 1) for place in at} | {0, len(body)})
    return [body[start:end] for start, end in itertools.pairwise(places)]


def framed(pieces: list[bytes], *, is_chunked: bool) -> list[bytes]:
    """The end of a head and the *pieces* of a body behind it."""
    if is_chunked:
        return [b"Transfer-Encoding: chunked\r\n\r\n", *chunked(*pieces)]
    return [b"Content-Length: %d\r\n\r\n" % sum(map(len, pieces)), *pieces]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    exchanged=st.tuples(bodies, bodies),
    cuts=st.lists(st.integers(0, 10_000), max_size=6),
    is_chunked=st.tuples(st.booleans(), st.booleans()),
    kind=st.tuples(
        st.sampled_from([b"application/json", b"text/event-stream", b"image/png"]),
        st.sampled_from([b"", b"Content-Encoding: gzip\r\n", b"Content-Encoding: br\r\n"]),
    ),
)
def test_bodies_are_identical(
    proxy: int,
    upstream: RawServer,
    exchanged: tuple[bytes, bytes],
    cuts: list[int],
    is_chunked: tuple[bool, bool],
    kind: tuple[bytes, bytes],
) -> None:
    """
    Any body, in any cut and framing and of any encoding, arrives as it was sent, both ways.
    """
    asked, answered = exchanged
    head = OK + b"Content-Type: " + kind[0] + b"\r\n" + kind[1]
    upstream.answer = [head, *framed(cut(answered, cuts), is_chunked=is_chunked[0])]
    with Connection.to(proxy) as client:
        client.send(POST, *framed(cut(asked, cuts), is_chunked=is_chunked[1]))
        first, headers, body = client.message()

    assert first == b"HTTP/1.1 200 OK"
    assert named(headers)[b"content-type"] == kind[0]
    assert (upstream.seen[-1][2], body) == (asked, answered)


def test_headers(proxy: int, upstream: RawServer) -> None:
    """
    Headers pass in their order, doubled ones too, but those of one connection; the answer gets our
    id and nothing else.
    """
    answer = [
        (b"X-One", b"1"), (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"Server", b"theirs"),
        (b"X-Odd", b"\xff caf\xe9"), (b"content-length", b"2"),
    ]  # fmt: skip

    lines = [b"%b: %b\r\n" % pair for pair in answer]
    lines += [b"Connection: x-hop, keep-alive\r\n", b"X-Hop: h\r\n", b"Keep-Alive: timeout=9\r\n"]
    upstream.answer = [OK, *lines, b"\r\nhi"]
    sent = [
        (b"accept-encoding", b"gzip, br"), (b"authorization", b"Bearer k"), (b"x-a", b"1"),
        (b"x-a", b"2"), (b"x-odd", b"\xe9"), (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
    ]  # fmt: skip
    with Connection.to(proxy) as client:
        client.send(b"GET /x/../%7Ey?q=%41&&=;#f HTTP/1.1\r\nHost: here\r\n")
        client.send(*(b"%b: %b\r\n" % pair for pair in sent))
        client.send(b"TE: trailers\r\nConnection: x-mine\r\nX-Mine: m\r\nUpgrade: h2c\r\n\r\n")
        first, headers, body = client.message()

    assert (first, body) == (b"HTTP/1.1 200 OK", b"hi")
    assert [(name.lower(), value) for name, value in headers[:-1]] == [
        (name.lower(), value) for name, value in answer
    ]
    assert headers[-1][0] == b"x-mvtrace-request-id"
    [(line, got, _)] = upstream.seen
    assert line == b"GET /x/../%7Ey?q=%41&&=;#f HTTP/1.1"
    assert got == [(b"host", f"127.0.0.1:{upstream.port}".encode()), *sent]


def test_prefix_of_the_upstream(start_proxy: Callable[..., int], upstream: RawServer) -> None:
    """
    A path in the upstream's URL stands before every path.
    """
    upstream.answer = [OK, b"Content-Length: 0\r\n\r\n"]
    with Connection.to(start_proxy(upstream.url + "/api/v2/")) as client:
        client.send(b"GET /models HTTP/1.1\r\nHost: here\r\n\r\n")
        client.message()

    assert upstream.seen[0][0] == b"GET /api/v2/models HTTP/1.1"


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"HEAD / HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"),
        (b"GET / HTTP/1.1", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET / HTTP/1.1", b'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\n\r\n'),
        (b"GET / HTTP/1.1", b"HTTP/1.1 529 Overloaded\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_answers_without_a_body(
    proxy: int, upstream: RawServer, request_line: bytes, answer: bytes
) -> None:
    """
    Status and headers of an answer without a body pass, and the connection goes on.
    """
    upstream.answer = [answer]
    with Connection.to(proxy) as client:
        found = []
        for _ in range(2):
            client.send(request_line + b"\r\nHost: here\r\n\r\n")
            found.append(client.head())

    for first, headers in found:
        assert first.split()[1] == answer.split()[1]
        assert [pair for pair in headers if not pair[0].startswith(b"x-mvtrace")] == [
            (name, value.strip())
            for line in answer.split(b"\r\n")[1:-2]
            for name, value in [line.split(b":", 1)]
        ]
    assert upstream.connections == 1


def test_each_piece_passes_at_once(proxy: int, upstream: RawServer) -> None:
    """
    A piece is with the other side before the next one is sent, both ways.
    """
    order: list[str] = []
    turn = [threading.Event() for _ in range(4)]

    def handle(connection: Connection) -> None:
        connection.head()
        for number in range(2):
            order.append(f"upstream has {connection.chunk().decode()}")
            turn[number].set()
        connection.chunk()
        connection.send(OK, b"Transfer-Encoding: chunked\r\n\r\n")
        connection.send(b"1\r\nx\r\n")
        turn[2].wait(20)
        connection.send(b"1\r\ny\r\n0\r\n\r\n")

    upstream.handle = handle
    with Connection.to(proxy) as client:
        client.send(POST, b"Transfer-Encoding: chunked\r\n\r\n")
        for number, piece in enumerate((b"a", b"b")):
            client.send(b"1\r\n" + piece + b"\r\n")
            assert turn[number].wait(20)
        client.send(b"0\r\n\r\n")
        client.head()
        order.append(f"client has {client.chunk().decode()}")
        turn[2].set()
        order.append(f"client has {client.chunk().decode()}")

    assert order == ["upstream has a", "upstream has b", "client has x", "client has y"]


@pytest.mark.parametrize("is_upload", [False, True])
def test_a_slow_reader_slows_the_writer(
    captured: Captured, proxy: int, upstream: RawServer, is_upload: bool
) -> None:
    """
    Of a body of 32 MiB that nobody reads the writer is rid of some buffers' worth; read later it
    is whole.
    """
    size, sent, may_read = 32 << 20, [0], threading.Event()
    piece = bytes(range(256)) * 256

    def write(connection: Connection) -> None:
        while sent[0] < size:
            connection.send(piece)
            sent[0] += len(piece)

    def handle(connection: Connection) -> None:
        _, headers = connection.head()
        if is_upload:
            may_read.wait(20)
            whole = connection.body(headers)
            connection.send(
                OK, b"Content-Length: 1\r\n\r\n", b"1" if whole == piece * 512 else b"0"
            )
        else:
            connection.send(OK, b"Content-Length: %d\r\n\r\n" % size)
            write(connection)

    upstream.handle = handle
    with Connection.to(proxy) as client:
        if is_upload:
            client.send(POST, b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n" % size)
            threading.Thread(target=write, args=(client,), daemon=True).start()
        else:
            client.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        before = -1
        while before != sent[0]:
            before = sent[0]
            time.sleep(0.5)
        may_read.set()
        _, _, body = client.message()

    assert 0 < before < size // 2
    assert body == (b"1" if is_upload else piece * 512)


def test_continue_is_answered_once_the_body_is_wanted(proxy: int, upstream: RawServer) -> None:
    """
    A client that waits for 100 gets it, and the upstream gets the body without being asked.
    """
    upstream.answer = [OK, b"Content-Length: 0\r\n\r\n"]
    with Connection.to(proxy) as client:
        client.send(POST, b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert client.head()[0].startswith(b"HTTP/1.1 100 ")
        client.send(b"hi")
        assert client.head()[0].startswith(b"HTTP/1.1 200 ")

    [(_, headers, body)] = upstream.seen
    assert body == b"hi"
    assert b"expect" not in named(headers)


def test_lengths_that_disagree_go_no_further() -> None:
    """
    Where a request says its length twice, only the framing that was read is passed on.
    """
    scope = {"headers": [(b"transfer-encoding", b"chunked"), (b"content-length", b"5")]}

    found = Upstream.parse("http://h").headers(scope)

    assert found == [(b"host", b"h"), (b"transfer-encoding", b"chunked")]
