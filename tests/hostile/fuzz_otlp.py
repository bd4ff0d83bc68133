"""Fuzz what reads exports: protobuf and JSON bodies, and compressed ones."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Iterator
from random import Random
from typing import Any

import json_oracle
import orjson
from fuzz_target import Cursor, Target
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from mvtrace_collector.errors import TooLargeError, UndecodableError
from mvtrace_collector.intake import (
    DECISIONS,
    GEN_AI_PREFIX,
    OWN_EVENTS,
    Intake,
    read_logs,
    read_traces,
)
from mvtrace_collector.keys import ANYBODY, Identity
from mvtrace_collector.limits import Limits, MemoryBudget, inflate
from mvtrace_collector.otlp_json import logs_from_json, traces_from_json
from mvtrace_collector.otlp_walk import _EXPORTS, _counted

IDENTITIES = (
    ANYBODY,
    Identity("k", frozenset({"ingest"}), ("shop",)),
    Identity("k", frozenset({"ingest"}), ("lab", "shop")),
    Identity("k", frozenset({"read"}), ("shop",)),
)
EVENTS = (*sorted(OWN_EVENTS), "gen_ai.choice", "app.started")
REQUESTS: tuple[type[Message], type[Message]] = (
    ExportTraceServiceRequest,
    ExportLogsServiceRequest,
)
LIMITS = Limits(inflated_bytes=200_000, ratio_floor_bytes=20_000)
MIB_FREE = 1 << 20


def check_protobuf(data: bytes) -> None:
    """An export is refused, or every span and record of it is either in one piece or counted."""
    cursor = Cursor(data)
    choice = cursor.number()
    identity, is_logs, body = IDENTITIES[choice % 4], bool(choice & 4), cursor.rest
    read, request = (read_logs if is_logs else read_traces), REQUESTS[is_logs]()
    try:
        intake = read(body, identity)
    except UndecodableError:
        _must_not_parse(request, body)
        return
    request.ParseFromString(body)
    _check_count(request, body, is_logs=is_logs)
    total = len(_items(request))
    assert intake.accepted + intake.rejected.total() + len(intake.keys) == total
    assert bool(intake.message("spans")) == bool(intake.rejected.total())
    _check_pieces(intake, identity, is_logs=is_logs)


def _check_count(request: Message, body: bytes, *, is_logs: bool) -> None:
    """No message is missed; a field that may be there once is merged by the parser, if it is twice."""
    fields, messages = _EXPORTS["logs" if is_logs else "traces"], _messages(request)
    assert _counted(body, fields, len(body)) >= messages
    merged = request.SerializeToString()
    assert _counted(merged, fields, len(merged)) == messages


def _messages(message: Message) -> int:
    """Count the messages in *message*, and the names of attributes in its entities, which cost alike."""
    count = 0
    for field, value in message.ListFields():
        if field.message_type is not None:
            inner = value if field.is_repeated else [value]
            count += len(inner) + sum(map(_messages, inner))
        elif field.is_repeated:
            count += len(value)
    return count


def _must_not_parse(request: Message, body: bytes) -> None:
    try:
        request.ParseFromString(body)
    except DecodeError:
        return
    raise AssertionError("protobuf reads what was refused")


def _check_pieces(intake: Intake, identity: Identity, *, is_logs: bool) -> None:
    kept = 0
    assert len({piece.project for piece in intake.pieces}) == len(intake.pieces)
    for piece in intake.pieces:
        assert identity.sees(piece.project)
        part = REQUESTS[is_logs]()
        part.ParseFromString(piece.body)
        items = _items(part)
        kept += len(items)
        assert all(map(_is_good_record if is_logs else _is_good_span, items))
        assert identity.may("ingest") or {_name_of(item) for item in items} <= DECISIONS
    # A decision of a key that may not decide counts as rejected and goes on, to quarantine.
    assert kept == intake.accepted + intake.rejected["govern"]


def _items(request: Message) -> list[Message]:
    if isinstance(request, ExportTraceServiceRequest):
        return [
            span
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
    assert isinstance(request, ExportLogsServiceRequest)
    return [
        record
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def _is_good_span(span: Message) -> bool:
    trace_id, span_id = span.trace_id, span.span_id  # type: ignore[attr-defined]
    return len(trace_id) == 16 and any(trace_id) and len(span_id) == 8 and any(span_id)


def _is_good_record(record: Message) -> bool:
    name = _name_of(record)
    return name.startswith(GEN_AI_PREFIX) or name in OWN_EVENTS


def _name_of(record: Message) -> str:
    named = [one.value.string_value for one in record.attributes if one.key == "event.name"]  # type: ignore[attr-defined]
    return str(record.event_name or (named[0] if named else ""))  # type: ignore[attr-defined]


def check_json(data: bytes) -> None:
    """A body is refused, or means what protobuf's own JSON reader says it means."""
    cursor = Cursor(data)
    is_logs, body = bool(cursor.number() & 1), cursor.rest
    convert = logs_from_json if is_logs else traces_from_json
    try:
        encoded = convert(body, max_containers=2000)
    except (UndecodableError, TooLargeError):
        return
    found = REQUESTS[is_logs]()
    try:
        found.ParseFromString(encoded)
    except DecodeError:
        assert body.count(b"rrayValue") + body.count(b"vlistValue") > 20, "not because it is deep"
        return
    assert_same(found, json_oracle.expected(REQUESTS[is_logs], orjson.loads(body)))


def assert_same(found: Message, expected: Message) -> None:
    """Compare two messages by their bytes, in which a NaN equals itself."""
    assert found.SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )


def check_compressed(data: bytes) -> None:
    """Inflating gives what zlib gives, within the limits, and holds no byte more than it counts."""
    cursor = Cursor(data)
    choice = cursor.number()
    wbits = 31 if choice & 1 else 15
    data = cursor.rest if choice & 2 else _damaged(cursor, wbits)
    budget = MemoryBudget(MIB_FREE)
    with budget.hold() as holding:
        try:
            inflated = inflate(data, wbits, LIMITS, holding)
        except (UndecodableError, TooLargeError):
            inflated = None
        else:
            assert budget.used_bytes == (len(inflated) if data else 0)
    assert budget.used_bytes == 0
    whole = _inflated_by_zlib(data, wbits)
    if inflated is not None:
        assert inflated == (whole if data else b"")
    elif whole is not None:
        assert len(whole) > min(LIMITS.ratio_floor_bytes, LIMITS.inflated_bytes)


def _damaged(cursor: Cursor, wbits: int) -> bytes:
    """Return what follows compressed, some of it many times over, then cut, doubled or changed."""
    damage, at, times = cursor.number(), cursor.number(2), cursor.number(2) % 3000
    squeezer = zlib.compressobj(cursor.number() % 10, wbits=wbits)
    whole = squeezer.compress(cursor.rest * times + cursor.rest) + squeezer.flush()
    at %= len(whole)
    forms = (
        *(whole, whole, whole[:at], whole + whole, whole + b"\0", b"\0" + whole),
        whole[:at] + bytes([damage]) + whole[at + 1 :],
    )
    return forms[damage % len(forms)]


def _inflated_by_zlib(data: bytes, wbits: int) -> bytes | None:
    inflater = zlib.decompressobj(wbits=wbits)
    try:
        whole = inflater.decompress(data, 10 * LIMITS.inflated_bytes)
    except zlib.error:
        return None
    return whole if inflater.eof and not inflater.unused_data else None


def protobuf_seeds() -> Iterator[bytes]:
    """Yield small exports of both signals, good and bad, under every identity."""
    traces, logs = ExportTraceServiceRequest(), ExportLogsServiceRequest()
    for project in ("shop", "lab", "No Project"):
        resource = traces.resource_spans.add()
        resource.resource.attributes.add(key="mvtrace.project").value.string_value = project
        spans = resource.scope_spans.add().spans
        spans.add(trace_id=b"\x01" * 16, span_id=b"\x02" * 8, name="a")
        spans.add(trace_id=bytes(16), span_id=b"\x02" * 8).links.add(trace_id=b"x")
    scoped = logs.resource_logs.add().scope_logs.add()
    scoped.scope.name = "s"
    records = scoped.log_records
    for name in EVENTS:
        records.add(event_name=name).body.string_value = "e30="
        old = records.add()
        old.attributes.add(key="event.name").value.string_value = name
        for key in ("mvtrace.payload.key_id", "mvtrace.payload.subject"):
            old.attributes.add(key=key).value.string_value = "s"
    for choice in range(4):
        yield bytes([choice]) + traces.SerializeToString()
        yield bytes([choice | 4]) + logs.SerializeToString()
    yield b"\0" + b"\x0a\x04" + b"\x0a\x00" * 2  # a resource twice: the parser merges them


VALUES = (
    {"stringValue": "x"},
    {"intValue": "-5"},
    {"intValue": 1e19},
    {"doubleValue": "NaN"},
    {"boolValue": True},
    {"bytesValue": "AAE="},
    {"arrayValue": {"values": [{"intValue": 1}]}},
    {"kvlistValue": {"values": [{"key": "k", "value": {"doubleValue": 1.5}}]}},
)
ATTRIBUTES = [{"key": f"k{at}", "value": value} for at, value in enumerate(VALUES)]


def json_seeds() -> Iterator[bytes]:
    """Yield OTLP/JSON of both signals with every field that there is."""
    event = {"timeUnixNano": "1", "name": "e", "attributes": ATTRIBUTES[:1]}
    link = {"traceId": "ab" * 16, "spanId": "CD" * 8, "traceState": "a=b", "flags": 1}
    span = {
        "traceId": "5B" * 16,
        "spanId": "ee" * 8,
        "parentSpanId": "",
        "traceState": "x=y",
        "name": "n",
        "kind": 2,
        "startTimeUnixNano": "15",
        "endTimeUnixNano": 16,
        "flags": 257,
        "attributes": ATTRIBUTES,
        "events": [event],
        "links": [link],
        "status": {"code": 2},
        "droppedAttributesCount": 1,
        "droppedEventsCount": 2,
        "droppedLinksCount": 3,
    }
    record = {
        "timeUnixNano": "5",
        "observedTimeUnixNano": 6,
        "severityNumber": 9,
        "flags": 1,
        "severityText": "INFO",
        "eventName": "mvtrace.request",
        "body": {"stringValue": "{}"},
        "traceId": "5B" * 16,
        "spanId": "ee" * 8,
        "attributes": ATTRIBUTES[:3],
    }
    resource = {"attributes": ATTRIBUTES[:2], "droppedAttributesCount": 1}
    scope = {"name": "s", "version": "1", "attributes": ATTRIBUTES[:1]}
    for signal, inner, items in (("Spans", "spans", [span]), ("Logs", "logRecords", [record])):
        scoped = {"scope": scope, inner: items, "schemaUrl": "u"}
        whole = {f"resource{signal}": [{"resource": resource, f"scope{signal}": [scoped]}]}
        yield bytes([inner == "logRecords"]) + json.dumps(whole).encode()
        small = {f"resource{signal}": [{f"scope{signal}": [{inner: [{}]}]}]}
        yield bytes([inner == "logRecords"]) + json.dumps(small).encode()


def compressed_seeds() -> Iterator[bytes]:
    """Yield what is compressed well, badly, twice, too much and not to its end."""
    for text in (b"", b"abc" * 50, bytes(range(256)) * 4, bytes(60_000), bytes(400_000)):
        for wbits in (31, 15):
            squeezer = zlib.compressobj(9, wbits=wbits)
            whole = bytes([2 | (wbits == 31)]) + squeezer.compress(text) + squeezer.flush()
            yield from (whole, whole[:-3], whole + whole[1:], whole + b"\0")
    yield from (
        bytes([gzip, damage, 9, 0, 90, 0, 6]) + b"ab" * 40 for gzip in (0, 1) for damage in range(7)
    )
    yield bytes([1, 0, 0, 0, 255, 255, 9]) + bytes(300)


ODD_VALUES: tuple[object, ...] = (
    *(None, True, 0, -1, 2**63, -(2**63), 2**64, 1.5, 1e300, "", "x", "NaN", "-5", "1e3", "\0"),
    *([], {}, [[]], [{}], {"values": []}, {"values": None}, {"key": 1}, "AAE=", "ab" * 16, "A-_"),
)


def json_spliced(data: bytes, random: Random) -> bytes:
    """Return the same JSON with one value or name changed, or an attribute of many forms more."""
    try:
        document = json.loads(data[1:])
    except (ValueError, RecursionError):
        return data
    places: list[tuple[Any, Any]] = []
    _collect(document, places)
    if not places:
        return data
    holder, at = random.choice(places)
    deed = random.randrange(5)
    if deed == 0:
        holder[at] = random.choice(ODD_VALUES)
    elif deed == 1:
        holder[at] = random.choice(VALUES)
    elif deed == 2:
        other, place = random.choice(places)
        holder[at] = copy.deepcopy(other[place])
    elif deed == 3 and isinstance(holder, dict):
        holder[random.choice(NAMES)] = holder.pop(at)
    else:
        for _ in range(random.choice((1, 3, 40, 120))):
            holder[at] = {"arrayValue": {"values": [holder[at]]}}
    return data[:1] + json.dumps(document).encode()


def _collect(value: object, places: list[tuple[Any, Any]]) -> None:
    pending = [value]
    while pending:
        one = pending.pop()
        keys = (
            list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        )
        for key in keys:
            places.append((one, key))
            pending.append(one[key])  # type: ignore[index]


NAMES = (
    *("stringValue", "intValue", "doubleValue", "boolValue", "bytesValue", "arrayValue"),
    *("kvlistValue", "values", "key", "value", "attributes", "traceId", "spanId", "kind", "flags"),
    *("trace_id", "startTimeUnixNano", "events", "links", "status", "name", "body", "eventName"),
)
JSON_WORDS = [
    *(b'"stringValue"', b'"intValue"', b'"doubleValue"', b'"boolValue"', b'"bytesValue"'),
    *(b'"arrayValue"', b'"kvlistValue"', b'"values"', b'"key"', b'"value"', b'"attributes"'),
    *(b"null", b"true", b"-1", b"1e400", b"18446744073709551616", b"9223372036854775808"),
    *(b'"NaN"', b'"-Infinity"', b'"\\ud800"', b'"\\u0000"', b"[]", b"{}", b'""', b"1.0", b"-0.0"),
    *(b'"trace_id"', b'"SPAN_KIND_SERVER"', b"\xef\xbb\xbf", b'"1e3"', b'" 1"', b'"-0"'),
]
PROTOBUF_WORDS = [
    *(b"mvtrace.project", b"event.name", b"gen_ai.", *(name.encode() for name in EVENTS)),
    *(b"\xff" * 9 + b"\x01", b"\x80" * 9 + b"\x02", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", b"\x0c"),
]

TARGETS = {
    "otlp-protobuf": Target(check_protobuf, protobuf_seeds, PROTOBUF_WORDS),
    "otlp-json": Target(check_json, json_seeds, JSON_WORDS, json_spliced),
    "compressed": Target(check_compressed, compressed_seeds, max_length=16_384),
}
