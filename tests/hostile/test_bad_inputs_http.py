"""Hostile HTTP against a real collector: status, body, memory, and life afterwards."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from attacked import (
    GZIPPED,
    JSON,
    MIB,
    PROTOBUF,
    Attacked,
    a_trace,
    answer_on,
    attacked,
    bomb,
    chunked,
    head,
)

LITTLE = 96.0
"""MiB that the loader may take meanwhile for the good requests of the tests themselves."""
GOOD = a_trace()
KIND = f"content-type: {PROTOBUF}"
SECRET_PAGE = "root:"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """One collector for all attacks, with deadlines of a second."""
    with attacked(
        tmp_path_factory.mktemp("http"), "header_seconds=1.0", "read_seconds=1.0", "connections=100"
    ) as one:
        yield one


COMPRESSED = [
    ("a gibibyte of gzip", "gzip", partial(bomb, 1024 * MIB), 413, "ratio"),
    ("a gibibyte of deflate", "deflate", partial(bomb, 1024 * MIB, wbits=15), 413, "ratio"),
    (
        "200 MiB at a low ratio",
        "gzip",
        partial(bomb, 200 * MIB, filling=bytes(range(256)) * 16),
        413,
        None,
    ),
    ("concatenated members", "gzip", GZIPPED + GZIPPED, 400, "follow the end"),
    ("10 000 members", "gzip", gzip.compress(b"") * 10_000, 400, "follow the end"),
    ("trailing garbage", "gzip", GZIPPED + b"\0\0garbage", 400, "follow the end"),
    ("truncated", "gzip", GZIPPED[:-5], 400, "ends too early"),
    ("no checksum", "gzip", GZIPPED[:-8] + bytes(8), 400, "damaged"),
    ("nested gzip", "gzip", gzip.compress(GZIPPED), 400, "ExportTraceServiceRequest"),
    ("gzip, gzip", "gzip, gzip", gzip.compress(GZIPPED), 415, "Content-Encoding"),
    ("br", "br", GOOD, 415, "Content-Encoding"),
    ("zstd", "zstd", GOOD, 415, "Content-Encoding"),
    ("raw deflate", "deflate", zlib.compress(GOOD)[2:-4], 400, "damaged"),
    ("gzip that is none", "gzip", GOOD, 400, "damaged"),
]


@pytest.mark.parametrize(
    ("name", "encoding", "body", "status", "told"), COMPRESSED, ids=[one[0] for one in COMPRESSED]
)
def test_compressed_bodies(
    target: Attacked,
    name: str,
    encoding: str,
    body: bytes | Callable[[], bytes],
    status: int,
    told: str | None,
) -> None:
    """
    Bombs end at a limit and not in memory; what is not one whole gzip is refused.
    """
    sent = body if isinstance(body, bytes) else body()
    with target.attack(name, most_mib=LITTLE):
        answer = target.post("/v1/traces", sent, headers={"content-encoding": encoding})

    assert answer.status == status
    assert told is None or told in answer.told


def test_a_bomb_of_json_and_many_at_a_time(target: Attacked) -> None:
    """
    Ten bombs at once cost what a few inflated bodies may, not ten times a gibibyte.
    """
    one = bomb(1024 * MIB, filling=b" ")
    request = head("POST", "/v1/logs", f"content-type: {JSON}", "content-encoding: gzip",
                   f"content-length: {len(one)}") + one  # fmt: skip
    with target.attack("ten bombs", most_mib=150), contextlib.ExitStack() as stack:
        connections = [stack.enter_context(target.connection()) for _ in range(10)]
        for connection in connections:
            connection.sendall(request)
        statuses = [answer_on(connection).status for connection in connections]

    assert statuses == [413] * 10


RAW = [
    ("endless chunks", [head("POST", "/v1/traces", KIND, "transfer-encoding: chunked"), *chunked(itertools.repeat(bytes(MIB), 40))], 413),
    ("shorter than said", [head("POST", "/v1/traces", KIND, "content-length: 1000"), GOOD], 408),
    ("longer than said", [head("POST", "/v1/traces", KIND, f"content-length: {len(GOOD) - 1}"), GOOD], 400),
    ("20 GB announced", [head("POST", "/v1/traces", KIND, "content-length: 20000000000", "expect: 100-continue")], 413),
    ("length and chunks", [head("POST", "/v1/traces", KIND, "content-length: 5", "transfer-encoding: chunked"), b"0\r\n\r\n"], 400),
    ("two lengths", [head("POST", "/v1/traces", KIND, "content-length: 1", "content-length: 2"), b"ab"], 400),
    ("negative length", [head("POST", "/v1/traces", KIND, "content-length: -1")], 400),
    ("length of 400 digits", [head("POST", "/v1/traces", KIND, f"content-length: {'9' * 400}")], 400),
    ("hexadecimal length", [head("POST", "/v1/traces", KIND, "content-length: 0x5"), b"abcde"], 400),
    ("bad chunk size", [head("POST", "/v1/traces", KIND, "transfer-encoding: chunked"), b"zz\r\nab\r\n"], 400),
    ("huge chunk size", [head("POST", "/v1/traces", KIND, "transfer-encoding: chunked"), b"f" * 40 + b"\r\n"], 400),
    ("gzip in transfer", [head("POST", "/v1/traces", KIND, "transfer-encoding: gzip, chunked"), b"0\r\n\r\n"], 400),
    ("64 KiB header", [head("GET", "/healthz", "x: " + "y" * 65_536)], 431),
    ("10 000 headers", [head("GET", "/healthz", *(f"x{at}: y" for at in range(10_000)))], 431),
    ("endless header", [head("GET", "/healthz")[:-2], b"x: ", *itertools.repeat(b"y" * 65_536, 200)], 400),
    ("NUL in a header", [head("GET", "/healthz", "x: a\0b")], 400),
    ("bare CR in a header", [head("GET", "/healthz", "x: a\rb: c")], 400),
    ("folded header", [head("GET", "/healthz", "x: a\r\n b")], 200),
    ("latin-1 in a header", [head("GET", "/healthz", "x: \xe9\xff")], 200),
    ("space before the colon", [head("POST", "/v1/traces", "content-length : 5")], 400),
    ("no host", [b"GET /healthz HTTP/1.1\r\n\r\n"], 400),
    ("two hosts", [head("GET", "/healthz", "host: evil.example")], 400),
    ("host of somebody else", [head("GET", "/healthz", host="evil.example")], 421),
    ("whole URL of somebody else", [head("GET", "http://evil.example/healthz", host="evil.example")], 421),
    ("no HTTP", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n"], 400),
    ("HTTP/2", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 421),
    ("NUL in the path", [b"GET /health\0z HTTP/1.1\r\nhost: localhost\r\n\r\n"], 400),
    ("64 KiB path", [head("GET", "/" + "a" * 65_536)], 414),
    ("websocket", [head("GET", "/v1/traces", "connection: upgrade", "upgrade: websocket", "sec-websocket-key: x", "sec-websocket-version: 13")], 405),
    ("connect", [b"CONNECT localhost:1 HTTP/1.1\r\nhost: localhost\r\n\r\n"], 404),
    ("trace", [head("TRACE", "/healthz", "authorization: Bearer secret")], 405),
]  # fmt: skip


@pytest.mark.parametrize(("name", "parts", "status"), RAW, ids=[one[0] for one in RAW])
def test_requests_that_are_not_as_they_should_be(
    target: Attacked, name: str, parts: list[bytes], status: int
) -> None:
    """
    Lengths that lie, floods of headers and what is no HTTP have an answer and cost no memory.
    """
    # Sixteen MiB are read before it is known to be endless; pieces and whole take several times it.
    with target.attack(name, most_mib=150 if name == "endless chunks" else LITTLE):
        answer = target.send(*parts)

    assert answer.status == status
    assert "server" not in answer.headers


def test_slow_senders_are_cut_off(target: Attacked) -> None:
    """
    A byte at a time of headers ends without an answer, of a body with 408, in about a second each.
    """
    started = time.monotonic()
    with target.attack("slow senders", most_mib=LITTLE):  # noqa: SIM117
        with target.connection() as headers, target.connection() as body:
            body.sendall(head("POST", "/v1/traces", KIND, "content-length: 1000"))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for byte in head("GET", "/healthz", "x: " + "y" * 60):
                    headers.sendall(bytes([byte]))
                    body.sendall(b"\x0a")
                    time.sleep(0.05)
            slow = answer_on(body)
            silent = answer_on(headers)

    assert (slow.status, slow.told) == (408, "The body did not arrive within 1 s.")
    assert silent.status == 0
    assert time.monotonic() - started < 15


def test_too_many_connections_are_told_to_come_again(target: Attacked) -> None:
    """
    Over the limit the answer is 503, which exporters repeat; when the others leave there is room.
    """
    with target.attack("300 connections", most_mib=LITTLE):
        with contextlib.ExitStack() as stack:
            for _ in range(300):
                stack.enter_context(target.connection())
            heard = target.send(head("GET", "/healthz"))
        time.sleep(0.3)

    assert heard.status in (0, 503)
    assert target.get("/healthz").status_code == 200


def test_a_thousand_requests_at_once_on_one_connection(target: Attacked) -> None:
    """
    Pipelined requests are answered one after the other.
    """
    with target.attack("pipelined", most_mib=LITTLE), target.connection() as connection:
        connection.sendall(head("GET", "/healthz") * 500)
        heard = b""
        while heard.count(b"HTTP/1.1 200") < 500:
            part = connection.recv(65_536)
            assert part
            heard += part


PATHS = [
    *("/v1/traces/", "/V1/traces", "//v1/traces", "/v1/traces%2f", "/v1//traces", "/v1/metrics"),
    *("/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "/v1/../../etc"),
    *("/....//etc/passwd", "/\\..\\etc", "/static/../app.py", "/api/v1/keys/../status", "/%00"),
    *("/%ff%fe", "/%f0%9f%98%80", "/%0d%0aset-cookie:a=b", "/api/v1/explanation/%3Cscript%3E"),
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_that_lead_nowhere(target: Attacked, path: str) -> None:
    """
    No path reaches a file, and none is put right: 404, with nothing of it as a header.
    """
    answer = target.send(head("GET", path))

    assert answer.status == 404
    assert SECRET_PAGE.encode() not in answer.body
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
def test_exports_are_posted(target: Attacked, method: str, path: str) -> None:
    """
    Every other method is 405, which names the right one.
    """
    answer = target.send(head(method, path, KIND, "content-length: 0", "connection: close"))

    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost"])
@pytest.mark.parametrize("path", ["/v1/logs", "/sql", "/api/v1/explanation", "/api/v1/keys"])
def test_pages_of_others_get_no_leave(target: Attacked, origin: str, path: str) -> None:
    """
    A preflight from an origin that nobody listed has no header that would let the browser on.
    """
    answer = target.send(
        head("OPTIONS", path, f"origin: {origin}", "access-control-request-method: POST")
    )

    assert answer.status in (400, 403, 405)
    assert not [name for name in answer.headers if name.startswith("access-control-allow")]


TYPES = [
    (f"{JSON}; charset=UTF-8", b"{}", 200),
    ("APPLICATION/JSON", b"{}", 200),
    ("Application/X-Protobuf", GOOD, 200),
    (f'{JSON}; charset="utf-8"', b"{}", 200),
    (f"{JSON}; charset=utf-16", b"{}", 415),
    ("text/html", b"{}", 415),
    ("", b"{}", 415),
    ("multipart/form-data; boundary=x", b"{}", 415),
    (f"{JSON}, text/html", b"{}", 415),
    (PROTOBUF, b"{}", 400),
    (JSON, GOOD, 400),
]


@pytest.mark.parametrize(("kind", "body", "status"), TYPES)
def test_content_types(target: Attacked, kind: str, body: bytes, status: int) -> None:
    """
    The two types in any case and in UTF-8; a body of the other kind is no such thing.
    """
    answer = target.post("/v1/traces", body, kind=kind)

    assert answer.status == status
    assert answer.headers["content-type"] == (PROTOBUF if kind.lower() == PROTOBUF else JSON)


def test_expect_continue_is_heard(target: Attacked) -> None:
    """
    Who asks before sending is told to go on, and then answered.
    """
    asked = head("POST", "/v1/traces", KIND, f"content-length: {len(GOOD)}", "expect: 100-continue")
    with target.connection() as connection:
        connection.sendall(asked)
        go_on = connection.recv(4096)
        connection.sendall(GOOD)
        answer = answer_on(connection)

    assert go_on.startswith(b"HTTP/1.1 100")
    assert answer.status == 200
