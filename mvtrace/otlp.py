"""OTLP as bytes: finished spans and events in, protobuf messages out, without a protobuf library.

The serving process stays light, so the few messages it sends are written by hand after
opentelemetry-proto 1.x (trace.proto, logs.proto, common.proto, resource.proto); a test decodes them
with the official classes. What is encoded here is concatenated by the spool: repeated fields of a
protobuf message may be appended as bytes.

What was measured: a span is mostly attributes. A pair that is put together from its parts costs
1.5 µs, and to remember whole pairs does not help with ids and sizes, which never come again. All
bytes before a value depend on its key and its length only, so these are remembered: 0.4 µs a pair.
Small varints come from a table, 0.1 µs instead of 0.3 µs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

_MAX_INTEGER: Final = 2**63
_MORE: Final = 0x80
"""The bit of a varint's byte that says another one follows."""
_MAX_HEADED: Final = 128
"""Bytes of a value whose head is remembered; and such a pair's own length may need two bytes."""

_DOUBLE: Final = struct.Struct("<d")
# A tag and its fixed64 each, packed at once.
_EVENT_TIME: Final = struct.Struct("<BQ")
_SPAN_TIMES: Final = struct.Struct("<BQBQ")
_LOG_HEAD: Final = struct.Struct("<BQBQBB")

Scalar = str | bool | int | float | bytes
AttributeValue = Scalar | Sequence["AttributeValue"] | Mapping[str, "AttributeValue"] | None
Attributes = Mapping[str, AttributeValue]


class SpanEvent(NamedTuple):
    """A moment within a span."""

    time_unix_nano: int
    name: str
    attributes: Attributes


class SpanLink(NamedTuple):
    """A span elsewhere that this one refers to."""

    trace_id: bytes
    span_id: bytes
    attributes: Attributes


class Scope(NamedTuple):
    """The instrumentation that made a span."""

    name: str
    version: str = ""
    schema_url: str = ""


class FinishedSpan(NamedTuple):
    """One finished span, whoever made it: the one value type at the seam."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    name: str
    kind: int
    """OTLP's SpanKind: 1 internal, 2 server, 3 client, 4 producer, 5 consumer."""
    start_time_unix_nano: int
    end_time_unix_nano: int
    attributes: Attributes
    events: Sequence[SpanEvent] = ()
    links: Sequence[SpanLink] = ()
    status_code: int = 0
    """OTLP's StatusCode: 0 unset, 1 ok, 2 error."""
    status_message: str = ""
    trace_state: str = ""
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    scope: Scope = Scope("")


class LogEvent(NamedTuple):
    """One event on its way out: an OTLP log record with an event name."""

    name: str
    time_unix_nano: int
    body: str
    attributes: Attributes
    trace_id: bytes = b""
    span_id: bytes = b""


def varint(number: int) -> bytes:
    """Return *number* (unsigned, or two's complement 64 bit) as a protobuf varint."""
    return _SMALL[number] if 0 <= number < _SMALL_END else _large_varint(number)


def _large_varint(number: int) -> bytes:
    number &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while number >= _MORE:
        out.append(number & 0x7F | _MORE)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL_END: Final = 1024
_SMALL: Final = tuple(map(_large_varint, range(_SMALL_END)))


def field(number: int, payload: bytes) -> bytes:
    """Return *payload* as the length-delimited field *number*, which is below 128."""
    size = len(payload)
    length = _SMALL[size] if size < _SMALL_END else _large_varint(size)
    return _SMALL[number << 3 | 2] + length + payload


def _text(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form; OTLP strings must be UTF-8
        return value.encode("utf-8", "replace")


def encode_value(value: AttributeValue) -> bytes:
    """Return *value* as an AnyValue message; None, or what has no OTLP type, is the empty one."""
    encode = _ENCODERS.get(type(value))
    return encode(value) if encode is not None else _encode_by_base(value)


def _encode_by_base(value: AttributeValue) -> bytes:
    """Return what is of a subclass or a container as its base would be."""
    for base, encode in _ENCODERS.items():
        if isinstance(value, base):
            return encode(value)
    if isinstance(value, Mapping):
        return field(6, encode_attributes(value, 1))
    if isinstance(value, Sequence):
        return _encode_array(value)
    return b""


def _encode_integer(value: int) -> bytes:
    if -_MAX_INTEGER <= value < _MAX_INTEGER:
        return b"\x18" + varint(value)
    return field(1, str(value).encode())  # no 64-bit form; text keeps it exact


def _encode_array(value: Sequence[AttributeValue]) -> bytes:
    return field(5, b"".join(field(1, encode_value(item)) for item in value))


_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    str: lambda value: field(1, _text(value)),
    bool: lambda value: b"\x10\x01" if value else b"\x10\x00",
    int: _encode_integer,
    float: lambda value: b"\x21" + _DOUBLE.pack(value),
    bytes: lambda value: field(7, value),
    tuple: _encode_array,
    list: _encode_array,
    dict: lambda value: field(6, encode_attributes(value, 1)),
}
"""In this order for subclasses: a bool is an int."""


@lru_cache(maxsize=4096)
def _encode_key(key: str) -> bytes:
    return field(1, _text(key))


def _encode_pair(number: int, key: str, value: AttributeValue) -> bytes:
    return field(number, _encode_key(key) + field(2, encode_value(value)))


@lru_cache(maxsize=4096)
def _text_head(number: int, key: str, size: int) -> bytes:
    """Return what a KeyValue holds before the bytes of its text, which are *size*."""
    return _encode_pair(number, key, "x" * size)[: -size or None]


@lru_cache(maxsize=4096)
def _integer_head(number: int, key: str, size: int) -> bytes:
    """Return what a KeyValue holds before the varint of its integer, which has *size* bytes."""
    return _encode_pair(number, key, 1 << 7 * (size - 1) if size > 1 else 0)[:-size]


def encode_attributes(attributes: Attributes, number: int) -> bytes:
    """Return *attributes* as repeated KeyValue messages in the field *number*."""
    pairs: list[bytes] = []
    for key, value in attributes.items():
        kind = type(value)
        if kind is str:
            data = _text(value)  # type: ignore[arg-type]
            if len(data) <= _MAX_HEADED:
                pairs.append(_text_head(number, key, len(data)))
                pairs.append(data)
                continue
        elif kind is int and 0 <= value < _MAX_INTEGER:  # type: ignore[operator]
            data = varint(value)  # type: ignore[arg-type]
            pairs.append(_integer_head(number, key, len(data)))
            pairs.append(data)
            continue
        pairs.append(_encode_pair(number, key, value))
    return b"".join(pairs)


def encode_resource(attributes: Attributes) -> bytes:
    """Return a Resource message."""
    return encode_attributes(attributes, 1)


def encode_span(span: FinishedSpan) -> bytes:
    """Return a Span message."""
    parts = [
        field(1, span.trace_id),
        field(2, span.span_id),
        field(4, span.parent_span_id) if span.parent_span_id else b"",
        _encode_name(span.name),
        b"\x30",
        varint(span.kind),
        _SPAN_TIMES.pack(0x39, span.start_time_unix_nano, 0x41, span.end_time_unix_nano),
        encode_attributes(span.attributes, 9),
    ]
    if span.events or span.links:
        parts.extend(field(11, _encode_event(event)) for event in span.events)
        parts.extend(field(13, _encode_link(link)) for link in span.links)
    if span.status_code or span.status_message:
        message = field(2, _text(span.status_message)) if span.status_message else b""
        parts.append(field(15, message + b"\x18" + varint(span.status_code)))
    if span.trace_state:
        parts.append(field(3, _text(span.trace_state)))
    if span.dropped_attributes or span.dropped_events or span.dropped_links:
        parts.append(b"\x50" + varint(span.dropped_attributes))
        parts.append(b"\x60" + varint(span.dropped_events))
        parts.append(b"\x70" + varint(span.dropped_links))
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _encode_name(name: str) -> bytes:
    return field(5, _text(name))


def _encode_event(event: SpanEvent) -> bytes:
    return (
        _EVENT_TIME.pack(0x09, event.time_unix_nano)
        + field(2, _text(event.name))
        + encode_attributes(event.attributes, 3)
    )


def _encode_link(link: SpanLink) -> bytes:
    return field(1, link.trace_id) + field(2, link.span_id) + encode_attributes(link.attributes, 4)


def encode_log_record(event: LogEvent) -> bytes:
    """Return a LogRecord message: the body as text, the event name in its own field."""
    time = event.time_unix_nano
    return b"".join(
        (
            _LOG_HEAD.pack(0x09, time, 0x59, time, 0x10, 9),  # severity INFO
            field(5, field(1, _text(event.body))),
            encode_attributes(event.attributes, 6),
            field(9, event.trace_id) if event.trace_id else b"",
            field(10, event.span_id) if event.span_id else b"",
            _encode_event_name(event.name),
        )
    )


@lru_cache(maxsize=64)
def _encode_event_name(name: str) -> bytes:
    return field(12, _text(name))


def _encode_scope(scope: Scope) -> bytes:
    version = field(2, _text(scope.version)) if scope.version else b""
    return field(1, _text(scope.name)) + version


def encode_scope(scope: Scope, encoded: Iterable[bytes]) -> bytes:
    """Return one ScopeSpans or ScopeLogs, which share their form, ready to be appended.

    *encoded* are messages of encode_span or of encode_log_record; the result is the field 2 of a
    ResourceSpans or ResourceLogs.
    """
    url = field(3, _text(scope.schema_url)) if scope.schema_url else b""
    body = b"".join(field(2, message) for message in encoded)
    return field(2, field(1, _encode_scope(scope)) + body + url)


def encode_scope_spans(scope: Scope, spans: Iterable[FinishedSpan]) -> bytes:
    """Return one ScopeSpans as the field 2 of a ResourceSpans, ready to be appended."""
    return encode_scope(scope, map(encode_span, spans))


def encode_scope_logs(scope: Scope, events: Iterable[LogEvent]) -> bytes:
    """Return one ScopeLogs as the field 2 of a ResourceLogs, ready to be appended."""
    return encode_scope(scope, map(encode_log_record, events))


def encode_request(resource: bytes, scopes: Iterable[bytes]) -> bytes:
    """Return an ExportTraceServiceRequest or ExportLogsServiceRequest (they share their form).

    *resource* comes from encode_resource, *scopes* from encode_scope_spans or encode_scope_logs.
    """
    return field(1, field(1, resource) + b"".join(scopes))
