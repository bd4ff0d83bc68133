"""Hostile exports against a real collector: protobuf, JSON and values."""

from __future__ import annotations

import gzip
import json
import os
import random
import time
from collections.abc import Iterator

import httpx2
import pytest
from attacked import (
    JSON,
    MIB,
    PROTOBUF,
    Attacked,
    a_trace,
    attacked,
    head,
    message,
    spans_of,
    varint,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

GOOD = a_trace()
MILLION = 1_000_000
IDS = message(1, b"\x01" * 16) + message(2, b"\x02" * 8)
LITTLE = 128.0
"""MiB for what is refused, the loader's own work included."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """One collector for all attacks."""
    with attacked(tmp_path_factory.mktemp("otlp")) as one:
        yield one


def nested(depth: int) -> bytes:
    """A span with an attribute of *depth* arrays within one another."""
    value = message(1, b"x")
    for _ in range(depth):
        value = message(5, message(1, value))
    return spans_of(message(2, IDS + message(9, message(1, b"deep") + message(2, value))))


REFUSED = [
    ("random bytes", random.Random(1).randbytes(1000), 400),
    ("endless varint", b"\x0a" + b"\xff" * 20, 400),
    ("length past the end", b"\x0a\xff\xff\xff\xff\x07abc", 400),
    ("length of 2^63", b"\x0a" + varint(2**63), 400),
    ("60 levels", nested(60), 400),
    ("5000 levels", nested(5000), 400),
    ("text that is no UTF-8", spans_of(message(2, IDS + message(5, b"\xff\xfe"))), 400),
    ("field zero", spans_of(message(2, IDS + b"\x02\x01x")), 400),
    ("wire type 7", spans_of(message(2, IDS + b"\x0f")), 400),
    ("group without end", spans_of(message(2, IDS + b"\xf3\x07")), 400),
    ("five million empty spans", spans_of(b"\x12\x00" * 5 * MILLION), 413),
    ("seven million empty attributes", spans_of(message(2, IDS + b"\x4a\x00" * 7 * MILLION)), 413),
    ("four million events with a long tag", spans_of(message(2, IDS + b"\xda\x00\x00" * 4 * MILLION)), 413),
    ("four million links", spans_of(message(2, IDS + b"\x6a\x00" * 4 * MILLION)), 413),
    ("three million values", spans_of(message(2, IDS + message(9, message(2, message(5, b"\x0a\x00" * 3 * MILLION))))), 413),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "status"), REFUSED, ids=[one[0] for one in REFUSED])
def test_protobuf_that_is_refused(target: Attacked, name: str, body: bytes, status: int) -> None:
    """
    What is no export is 400; what says little at great length is 413 before it becomes objects.
    """
    with target.attack(name, most_mib=LITTLE):
        answer = target.post("/v1/traces", body)

    assert answer.status == status
    assert answer.headers["content-type"] == PROTOBUF
    assert answer.told


def test_a_bomb_of_empty_spans(target: Attacked) -> None:
    """
    A body that inflates to 30 million spans, below the limit of the ratio, costs the inflated bytes a
    few times over, and no objects.
    """
    noise = random.Random(1)
    pieces = (b"\x12\x00" * 1000 + message(15, noise.randbytes(16)) for _ in range(30_000))
    body = gzip.compress(spans_of(b"".join(pieces)), 6)
    with target.attack("bomb of spans", most_mib=320):
        answer = target.post("/v1/traces", body, headers={"content-encoding": "gzip"})

    assert len(body) < 2 * MIB
    assert (answer.status, "messages" in answer.told) == (413, True)


ACCEPTED = [
    ("10^6 empty spans", spans_of(b"\x12\x00" * MILLION), MILLION, 320),
    ("200 000 good and bad in turn", spans_of((message(2, IDS) + b"\x12\x00") * 200_000), 200_000, 320),
    ("10^6 attributes", spans_of(message(2, IDS + b"\x4a\x00" * MILLION)), 0, 900),
    ("10^5 events", spans_of(message(2, IDS + message(11, b"\x09" + bytes(8)) * 100_000)), 0, 900),
    ("10^5 links", spans_of(message(2, IDS + message(13, IDS) * 100_000)), 0, 900),
    ("unknown fields", spans_of(message(2, IDS + message(200, b"x" * 1000) * 500)), 0, 200),
    ("20 levels", nested(20), 0, 200),
    ("own parent", spans_of(message(2, IDS + message(4, b"\x02" * 8))), 0, 200),
    ("times of zero and of 2^63, end before start", spans_of(message(2, IDS + b"\x39" + bytes(7) + b"\x80" + b"\x41" + bytes(8))), 0, 200),
    ("bad ids", spans_of(b"".join(message(2, message(1, b"\x01" * size) + message(2, b"\x02" * 8)) for size in (0, 15, 17))), 3, 200),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "body", "rejected", "most_mib"), ACCEPTED, ids=[one[0] for one in ACCEPTED]
)
def test_protobuf_that_is_taken(
    target: Attacked, name: str, body: bytes, rejected: int, most_mib: float
) -> None:
    """
    Odd but readable exports are taken, what cannot be stored of them is counted, in seconds.
    """
    started = time.monotonic()
    with target.attack(name, most_mib=most_mib):
        answer = target.post("/v1/traces", body)

    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert (answer.status, partial.rejected_spans) == (200, rejected)
    assert time.monotonic() - started < 30


def attributes(*values: object) -> bytes:
    pairs = [{"key": f"k{at}", "value": value} for at, value in enumerate(values)]
    span = {"traceId": "ab" * 16, "spanId": "cd" * 8, "attributes": pairs}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


def span_with(text: str) -> bytes:
    ids = '"traceId":"' + "ab" * 16 + '","spanId":"' + "cd" * 8 + '"'
    return ('{"resourceSpans":[{"scopeSpans":[{"spans":[{' + ids + "," + text + "}]}]}]}").encode()


BAD_JSON = [
    ("depth of 10^5", b'{"resourceSpans":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    ("10^7 containers", b"[" + b"{}," * 5_000_000 + b"{}]", 413),
    ("NaN", span_with('"kind": NaN'), 400),
    ("Infinity", span_with('"kind": -Infinity'), 400),
    ("1e400", span_with('"startTimeUnixNano": 1e400'), 400),
    ("2^64", span_with('"startTimeUnixNano": 18446744073709551616'), 400),
    ("10^5 digits", span_with('"startTimeUnixNano": ' + "9" * 100_000), 400),
    ("10^5 digits as text", span_with('"startTimeUnixNano": "' + "9" * 100_000 + '"'), 400),
    ("negative time", span_with('"startTimeUnixNano": -1'), 400),
    ("half a time", span_with('"startTimeUnixNano": 1.5'), 400),
    ("enum's name", span_with('"kind": "SPAN_KIND_SERVER"'), 400),
    ("attributes as an object", span_with('"attributes": {"a": 1}'), 400),
    ("arrays for objects", b'{"resourceSpans":[[[]]]}', 400),
    ("lone surrogate", span_with('"name": "\\ud800"'), 400),
    ("byte order mark", b"\xef\xbb\xbf{}", 400),
    ("UTF-16", "{}".encode("utf-16"), 400),
    ("no UTF-8", b'{"resourceSpans":"\xff"}', 400),
    ("comment", b'{/* */"resourceSpans":[]}', 400),
    ("two documents", b"{}{}", 400),
    ("a number", b"5", 400),
    ("values 200 deep", attributes(json.loads('{"arrayValue":{"values":[' * 200 + "{}" + "]}}" * 200)), 400),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "status"), BAD_JSON, ids=[one[0] for one in BAD_JSON])
def test_json_that_is_refused(target: Attacked, name: str, body: bytes, status: int) -> None:
    """
    What is no OTLP/JSON is refused in JSON, with the place where it is not.
    """
    with target.attack(name, most_mib=LITTLE):
        answer = target.post("/v1/traces", body, kind=JSON)

    assert answer.status == status
    assert answer.headers["content-type"] == JSON
    assert answer.told


GOOD_JSON = [
    ("duplicate keys", span_with('"name": "a", "name": "b"'), 0),
    ("upper-case ids", span_with('"name": "a"').replace(b"ab" * 16, b"AB" * 16), 0),
    ("base64 ids", span_with('"name": "a"').replace(b"ab" * 16, b"W47/95gDgQPSabYzgT/GDA=="), 1),
    ("ids of odd length", span_with('"name": "a"').replace(b"ab" * 16, b"a" * 31), 1),
    ("zero trace id", span_with('"name": "a"').replace(b"ab" * 16, b"0" * 32), 1),
    ("null everywhere", span_with('"name":null,"attributes":null,"status":null,"kind":null'), 0),
    ("snake case", span_with('"trace_state": 5, "start_time_unix_nano": "x"'), 0),
    ("10^5 unknown names", span_with(",".join(f'"x{at}": 1' for at in range(100_000))), 0),
    ("NUL", span_with('"name": "a\\u0000b"'), 0),
    ("numbers as other types", attributes({"intValue": "5"}, {"intValue": 5.0}, {"intValue": 1e19}), 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "rejected"), GOOD_JSON, ids=[one[0] for one in GOOD_JSON])
def test_json_that_is_taken(target: Attacked, name: str, body: bytes, rejected: int) -> None:
    """
    Odd but readable JSON is taken; a span without usable ids is counted as rejected.
    """
    with target.attack(name, most_mib=LITTLE):
        answer = target.post("/v1/traces", body, kind=JSON)

    told = json.loads(answer.body).get("partialSuccess", {}).get("rejectedSpans", "0")
    assert (answer.status, int(told)) == (200, rejected)


NASTY = [
    *("__proto__", "'; DROP TABLE spans; --", "n" * 65_536, "\x1b[31mred\x1b[0m", "[link=http://x]y[/link]"),
    *("=cmd|'/c calc'!A1", "<script>alert(1)</script>", "\u202egnp.exe", "a\u200bb", "\0", "%s%n", "{x:String}"),
    *("\\", "\\'", "\ufeff", "𒐫" * 1000),
]  # fmt: skip


def test_nasty_names_and_values_are_stored_as_they_are(target: Attacked) -> None:
    """
    Names and texts that mean something elsewhere are text here, and come back unchanged.
    """
    trace_id = os.urandom(16).hex()
    pairs = [{"key": text, "value": {"stringValue": text}} for text in NASTY]
    span = {"traceId": trace_id, "spanId": "cd" * 8, "name": "nasty", "attributes": pairs}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    with target.attack("nasty names", most_mib=200):
        assert target.post("/v1/traces", body, kind=JSON).status == 200

    sql = (
        "SELECT attributes_string FROM spans WHERE trace_id = unhex({t:String}) FORMAT JSONEachRow"
    )
    deadline = time.monotonic() + 30
    found = httpx2.Response(200)
    while time.monotonic() < deadline:
        found = target.get("/sql", params={"query": sql, "param_t": trace_id})
        if found.text:
            break
        time.sleep(0.2)
    assert json.loads(found.text)["attributes_string"] == dict(zip(NASTY, NASTY, strict=True))


IDS_ASKED = [
    *("'", '"', "%", "%25", "{p:String}", "\\", "../../etc/passwd", "a" * 50_000, "\x00", "\n"),
    *("0190163d-8694-4392-a6f8-2c5b5a1b2c3d", "ffffffff-ffff-7fff-bfff-ffffffffffff"),
    *("e677d21f-dbff-7000-8000-000000000000", "ab " * 16, "trace:", "trace:xyz", "request:", "", "\u202e"),
]  # fmt: skip


@pytest.mark.parametrize("asked", IDS_ASKED, ids=[repr(one)[:20] for one in IDS_ASKED])
def test_ids_that_are_asked_for(target: Attacked, asked: str) -> None:
    """
    Whatever is asked for as an id: it is no id, too long, or nothing is found.
    """
    with target.attack(f"id {asked[:10]!r}", most_mib=LITTLE):
        for path in ("/api/v1/explanation", "/api/v1/content"):
            answer = target.get(path, params={"id": asked, "wait": "0"})
            assert answer.status_code in (400, 404, 414)
            assert answer.json()["error"]["message"]


def test_logs_sent_to_traces(target: Attacked) -> None:
    """
    Log records posted as spans have no ids: they are counted as rejected.
    """
    record = message(2, b"\x09" + bytes(8) + b"\x10\x09") * 3
    answer = target.post("/v1/traces", spans_of(record))

    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert (answer.status, partial.rejected_spans) == (200, 3)


def test_a_request_that_ends_early_keeps_nothing(target: Attacked) -> None:
    """
    Half an export and a closed connection: nothing is stored, nothing is held.
    """
    with target.attack("half an export", most_mib=LITTLE):
        for _ in range(20):
            with target.connection() as connection:
                connection.sendall(
                    head(
                        "POST", "/v1/traces", f"content-type: {PROTOBUF}", "content-length: 9000000"
                    )
                    + bytes(100_000)
                )
        time.sleep(0.5)
    metrics = target.get("/metrics").text
    held = next(line for line in metrics.splitlines() if line.startswith("mvtrace_in_flight_bytes"))
    assert float(held.split()[-1]) == 0
