"""What fuzzing found, each as the smallest input that shows it."""

from __future__ import annotations

import time

import pytest
from attacked import message, spans_of

from mvtrace.digest import MAX_DEPTH, canonical_bytes, parse_canonical
from mvtrace.errors import QueryRefusedError
from mvtrace.records import RequestRecord
from mvtrace_collector.errors import TooLargeError
from mvtrace_collector.intake import read_traces
from mvtrace_collector.otlp_walk import check_messages
from mvtrace_collector.sql_dialect import DialectError, sql_request
from mvtrace_collector.sqltext import looked_over

IDS = message(1, b"\x01" * 16) + message(2, b"\x02" * 8)


@pytest.mark.parametrize(
    "body",
    [
        b'{"$int":null}',
        b'{"$int":1.5}',
        b'{"$int":[]}',
        b'{"$int":"x"}',
        b'{"$int":"' + b"9" * 10_000 + b'"}',
        b"[" * 1000 + b"]" * 1000,
    ],
)
def test_canonical_bytes_that_are_none(body: bytes) -> None:
    """
    A stored record or component that tags nonsense or nests too deep is unreadable, not an error.
    """
    with pytest.raises(ValueError):
        parse_canonical(body)
    with pytest.raises(ValueError):
        RequestRecord.from_bytes(b'{"annotations":' + body + b"}")


def test_what_can_be_written_can_be_read() -> None:
    """
    The deepest value that is written is read, and large integers come back.
    """
    value: object = 2**80
    for _ in range(MAX_DEPTH):
        value = [value]

    assert parse_canonical(canonical_bytes(value)) == value


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary*0=a; boundary*=b",
        'multipart/form-data; boundary="é"',
        "multipart/form-data; boundary=b; charset*=utf-8''%ff",
    ],
)
@pytest.mark.parametrize("body", [b"", b"--b--", b"--b\r\n\r\n--b--", b'--b\r\nContent-Disposition: form-data; name="q"; filename="f"\r\n\r\nx\r\n--b--\r\n'])  # fmt: skip
def test_forms_that_are_none(content_type: str, body: bytes) -> None:
    """
    A form that cannot be read, or that brings a file, is the sender's mistake.
    """
    with pytest.raises(DialectError):
        sql_request([], body, headers={"content-type": content_type})


def test_a_form_of_several_fields() -> None:
    """
    Fields keep their line breaks and dashes.
    """
    parts = {"query": "SELECT {p:String}\r\n--b is no boundary", "param_p": "x\r\n"}
    body = "".join(
        f'--bo\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in parts.items()
    )
    request = sql_request(
        [],
        f"{body}--bo--\r\n".encode(),
        headers={"content-type": 'multipart/form-data; boundary="bo"'},
    )

    assert request.sql == parts["query"]
    assert request.parameters["p"].text == "x\r\n"


@pytest.mark.parametrize(
    "normal", ["SELECT x'ff 'FORMAT CSV", "SELECT 1\n", "SELECT {x:A /*}", "SELECT {x:A('}')}"]
)
def test_statements_that_the_engine_would_not_write(normal: str) -> None:
    """
    What is not in the normal form is refused, never half understood.
    """
    with pytest.raises(QueryRefusedError):
        looked_over(normal)


def test_good_and_bad_spans_in_turn_take_no_square_of_time() -> None:
    """
    Taking many spans out of an export takes time in proportion to it.
    """
    body = spans_of((message(2, IDS) + b"\x12\x00") * 200_000)
    started = time.process_time()
    intake = read_traces(body)

    assert (intake.accepted, intake.rejected.total()) == (200_000, 200_000)
    assert time.process_time() - started < 4


@pytest.mark.parametrize(
    "dense",
    [
        b"\x12\x00" * 2000,
        message(2, IDS + b"\x4a\x00" * 2000),
        message(2, IDS + b"\xca\x00\x00" * 2000),
        b"\x0b\x0c" + b"\x12\x00" * 2000,
        message(2, IDS + message(9, message(2, message(5, b"\x0a\x00" * 2000)))),
    ],
)
def test_messages_are_counted_before_they_are_made(dense: bytes) -> None:
    """
    Empty spans, attributes and values, also behind long tags and groups, are over the limit.
    """
    with pytest.raises(TooLargeError):
        check_messages(spans_of(dense), "traces", 1000)
    check_messages(spans_of(dense), "traces", 2100)
