"""Compressed answers: read from a copy, whatever the cuts, and bounded."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
from captured import Captured
from hypothesis import given
from hypothesis import strategies as st
from openai_wire import STREAM, WHOLE
from starlette.testclient import TestClient

import mvtrace
from mvtrace.capture.encoded_answers import MAX_INFLATED, EncodedAnswerReader
from mvtrace.capture.openai_protocol import CHAT

ENCODERS = {"gzip": gzip.compress, "deflate": zlib.compress}


def pieces_of(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@given(
    encoding=st.sampled_from(sorted(ENCODERS)),
    is_stream=st.booleans(),
    size=st.integers(1, 400),
)
def test_any_cut_reads_the_same(encoding: str, is_stream: bool, size: int) -> None:
    """
    Wherever a compressed answer is cut, the same is read from it.
    """
    reader = EncodedAnswerReader(CHAT, is_stream=is_stream)

    for piece in pieces_of(ENCODERS[encoding](STREAM if is_stream else WHOLE), size):
        reader.feed(piece)
    found = reader.end()

    assert (found.text, found.model, found.finish_reason) == ("Hello", "m-2024", "stop")
    assert not found.is_cut


@given(st.binary(min_size=1, max_size=200))
def test_what_is_no_such_encoding_is_cut(body: bytes) -> None:
    """
    Bytes that are not in the encoding they claim are not read, and raise nothing.
    """
    reader = EncodedAnswerReader(CHAT, is_stream=False)

    reader.feed(b"\x00" + body)

    assert reader.answered.is_cut
    assert reader.end().text is None


def test_a_bomb_is_bounded() -> None:
    """
    An answer that inflates beyond the limit is left alone from there on.
    """
    reader = EncodedAnswerReader(CHAT, is_stream=True)

    for piece in pieces_of(gzip.compress(b"data: {}\n\n" * (MAX_INFLATED // 8)), 1000):
        reader.feed(piece)

    assert reader.end().is_cut


@pytest.mark.parametrize(
    ("encoding", "served", "cut"), [("gzip", "m-2024", 0), ("br", None, 1), ("zstd", None, 1)]
)
def test_bytes_pass_as_they_are(
    captured: Captured, encoding: str, served: str | None, cut: int
) -> None:
    """
    The client gets the compressed bytes; of an encoding that is not read the record says so.
    """
    body = gzip.compress(WHOLE)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-encoding", encoding.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    sent: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        async def note(message: Any) -> None:
            sent.append(message.get("body", b""))
            if encoding != "gzip" and message["type"] == "http.response.start":
                message = {**message, "headers": headers[:1]}  # the test's client knows no other
            await send(message)

        await mvtrace.TraceMiddleware(app, protocol="openai")(scope, receive, note)

    reply = TestClient(outside).post("/v1/chat/completions", json={"model": "m"})

    assert b"".join(sent) == body
    assert reply.status_code == 200
    record = captured.record
    assert record.calls[0].model_served == served
    assert (record.capture.truncated if record.capture else 0) == cut
