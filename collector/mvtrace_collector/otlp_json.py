"""OTLP/JSON -> the same protobuf bytes that the sender would have posted in binary.

Comes in: a JSON body (UTF-8). Goes out: an encoded export request. After the OTLP specification,
not the general protobuf mapping: ids are hex in any case, enums are integers only, names are
lowerCamelCase only. Unknown names and null are passed over, of repeated names the last one counts,
64-bit integers may be text; as a number beyond 64 bits an intValue becomes a double. An id that is
not hex becomes one zero byte: a length that no id check lets pass, so the span is rejected and
counted instead of its whole batch. Left out: checking ids.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from mvtrace.otlp import varint
from mvtrace_collector.errors import TooLargeError, UndecodableError
from mvtrace_collector.otlp_json_values import (
    MismatchError,
    Out,
    any_value,
    append,
    integer_of,
    key_value,
    size_of,
    text_attribute,
)

Encoder = Callable[[Out, Any], None]

_FIXED64: Final = struct.Struct("<Q").pack
_FIXED32: Final = struct.Struct("<I").pack
_BAD_ID: Final = b"\x00"
_LONGEST_ID: Final = 64


def traces_from_json(body: bytes, *, max_containers: int) -> bytes:
    """Return the ExportTraceServiceRequest that *body* says.

    Raises UndecodableError for what is not JSON or not of OTLP's form, TooLargeError for more than
    *max_containers* objects and arrays.
    """
    return _from_json(body, _TRACES, max_containers)


def logs_from_json(body: bytes, *, max_containers: int) -> bytes:
    """Return the ExportLogsServiceRequest that *body* says; raises like traces_from_json."""
    return _from_json(body, _LOGS, max_containers)


def _from_json(body: bytes, fields: Mapping[str, Encoder], max_containers: int) -> bytes:
    if body.count(b"{") + body.count(b"[") > max_containers:
        raise TooLargeError("JSON body", max_containers, "objects and arrays")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UndecodableError(f"The body is not JSON: {error}.") from error
    out: Out = []
    try:
        _fields(out, value, fields)
    except MismatchError as error:
        path = "".join(reversed(error.path)).lstrip(".") or "the body"
        raise UndecodableError(f"At {path}: {error.problem}.") from error
    return b"".join(out)


def _fields(out: Out, value: object, fields: Mapping[str, Encoder]) -> None:
    if type(value) is not dict:
        raise MismatchError("an object", value)
    for name, item in value.items():
        encoder = fields.get(name)
        if encoder is None or item is None:
            continue
        try:
            encoder(out, item)
        except MismatchError as error:
            error.path.append(f".{name}")
            raise


# One maker of encoders a scalar form; the tag is known when the table is built.


def _text(number: int) -> Encoder:
    tag = varint(number << 3 | 2)

    def encode(out: Out, value: Any) -> None:
        if type(value) is not str:
            raise MismatchError("text", value)
        append(out, tag, value.encode())

    return encode


def _hex(number: int) -> Encoder:
    tag = varint(number << 3 | 2)

    def encode(out: Out, value: Any) -> None:
        if type(value) is not str:
            raise MismatchError("hex text", value)
        append(out, tag, _bytes_of_hex(value))

    return encode


def _bytes_of_hex(text: str) -> bytes:
    if not text.isascii() or len(text) > _LONGEST_ID:
        return _BAD_ID
    try:
        return binascii.unhexlify(text)
    except ValueError:
        return _BAD_ID


def _varint(number: int, low: int, high: int) -> Encoder:
    tag = varint(number << 3)

    def encode(out: Out, value: Any) -> None:
        out += (tag, varint(integer_of(value, low, high)))

    return encode


def _uint32(number: int) -> Encoder:
    return _varint(number, 0, 2**32 - 1)


def _enum(number: int) -> Encoder:
    tag = varint(number << 3)

    def encode(out: Out, value: Any) -> None:
        if type(value) is str:
            raise MismatchError("an enum's integer (its name is no OTLP/JSON)", value)
        out += (tag, varint(integer_of(value, -(2**31), 2**31 - 1)))

    return encode


def _fixed64(number: int) -> Encoder:
    tag = varint(number << 3 | 1)

    def encode(out: Out, value: Any) -> None:
        out += (tag, _FIXED64(integer_of(value, 0, 2**64 - 1)))

    return encode


def _fixed32(number: int) -> Encoder:
    tag = varint(number << 3 | 5)

    def encode(out: Out, value: Any) -> None:
        out += (tag, _FIXED32(integer_of(value, 0, 2**32 - 1)))

    return encode


def _message(number: int, fields: Mapping[str, Encoder]) -> Encoder:
    tag = varint(number << 3 | 2)

    def encode(out: Out, value: Any) -> None:
        inner: Out = []
        _fields(inner, value, fields)
        append(out, tag, b"".join(inner))

    return encode


def _repeated(encode_one: Encoder) -> Encoder:
    def encode(out: Out, value: Any) -> None:
        if type(value) is not list:
            raise MismatchError("an array", value)
        for position, item in enumerate(value):
            try:
                encode_one(out, item)
            except MismatchError as error:
                error.path.append(f"[{position}]")
                raise

    return encode


def _attributes(number: int) -> Encoder:
    tag = varint(number << 3 | 2)

    def encode_one(out: Out, value: Any) -> None:
        payload = text_attribute(value) or key_value(value, 0)
        out += (tag, size_of(len(payload)), payload)

    return _repeated(encode_one)


def _any_value_field(number: int) -> Encoder:
    tag = varint(number << 3 | 2)

    def encode(out: Out, value: Any) -> None:
        append(out, tag, any_value(value, 0))

    return encode


# The messages of opentelemetry-proto 1.x: name -> encoder of its field.

_RESOURCE: Final = {"attributes": _attributes(1), "droppedAttributesCount": _uint32(2)}
_SCOPE: Final = {
    "name": _text(1),
    "version": _text(2),
    "attributes": _attributes(3),
    "droppedAttributesCount": _uint32(4),
}
_SPAN_EVENT: Final = {
    "timeUnixNano": _fixed64(1),
    "name": _text(2),
    "attributes": _attributes(3),
    "droppedAttributesCount": _uint32(4),
}
_SPAN_LINK: Final = {
    "traceId": _hex(1),
    "spanId": _hex(2),
    "traceState": _text(3),
    "attributes": _attributes(4),
    "droppedAttributesCount": _uint32(5),
    "flags": _fixed32(6),
}
_STATUS: Final = {"message": _text(2), "code": _enum(3)}
_SPAN: Final = {
    "traceId": _hex(1),
    "spanId": _hex(2),
    "traceState": _text(3),
    "parentSpanId": _hex(4),
    "name": _text(5),
    "kind": _enum(6),
    "startTimeUnixNano": _fixed64(7),
    "endTimeUnixNano": _fixed64(8),
    "attributes": _attributes(9),
    "droppedAttributesCount": _uint32(10),
    "events": _repeated(_message(11, _SPAN_EVENT)),
    "droppedEventsCount": _uint32(12),
    "links": _repeated(_message(13, _SPAN_LINK)),
    "droppedLinksCount": _uint32(14),
    "status": _message(15, _STATUS),
    "flags": _fixed32(16),
}
_LOG_RECORD: Final = {
    "timeUnixNano": _fixed64(1),
    "severityNumber": _enum(2),
    "severityText": _text(3),
    "body": _any_value_field(5),
    "attributes": _attributes(6),
    "droppedAttributesCount": _uint32(7),
    "flags": _fixed32(8),
    "traceId": _hex(9),
    "spanId": _hex(10),
    "observedTimeUnixNano": _fixed64(11),
    "eventName": _text(12),
}
_SCOPE_SPANS: Final = {
    "scope": _message(1, _SCOPE),
    "spans": _repeated(_message(2, _SPAN)),
    "schemaUrl": _text(3),
}
_SCOPE_LOGS: Final = {
    "scope": _message(1, _SCOPE),
    "logRecords": _repeated(_message(2, _LOG_RECORD)),
    "schemaUrl": _text(3),
}
_RESOURCE_SPANS: Final = {
    "resource": _message(1, _RESOURCE),
    "scopeSpans": _repeated(_message(2, _SCOPE_SPANS)),
    "schemaUrl": _text(3),
}
_RESOURCE_LOGS: Final = {
    "resource": _message(1, _RESOURCE),
    "scopeLogs": _repeated(_message(2, _SCOPE_LOGS)),
    "schemaUrl": _text(3),
}
_TRACES: Final = {"resourceSpans": _repeated(_message(1, _RESOURCE_SPANS))}
_LOGS: Final = {"resourceLogs": _repeated(_message(1, _RESOURCE_LOGS))}
