"""Values of OTLP/JSON -> protobuf bytes: AnyValue and KeyValue, nine tenths of a trace.

Comes in: what a JSON parser made of a value. Goes out: the encoded message, or a MismatchError that
knows where in the value it happened. Written out rather than driven by tables, for speed.
"""

from __future__ import annotations

import base64
import binascii
import re
import reprlib
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from mvtrace.otlp import varint

Out = list[bytes]

MAX_VALUE_DEPTH: Final = 64
"""Levels of AnyValue; protobuf's parser stops at fewer and says so."""
_DOUBLES: Final = {
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_INTEGER: Final = re.compile(r"-?\d{1,20}", re.ASCII)
_URL_SAFE: Final = str.maketrans("-_", "+/")
_VARINTS: Final = tuple(varint(number) for number in range(16_384))
_DOUBLE: Final = struct.Struct("<d").pack
_SHOWN: Final = 80
_REPR: Final = reprlib.Repr()
"""Shows a foreign value without walking all of it, however deep or long it is."""
_REPR.maxlevel = 3
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 60
_LONGEST_KEPT_KEY: Final = 128
_KEPT_KEYS: Final = 8192
_KEY_HEADS: Final[dict[str, bytes]] = {}
"""Keys seen before, encoded: the same few hundred come again and again."""


class MismatchError(Exception):
    """A value is not what its field takes; *path* grows while the error rises."""

    def __init__(self, expected: str, value: object) -> None:
        super().__init__(expected)
        self.problem = f"{_REPR.repr(value)[:_SHOWN]} is not {expected}"
        self.path: list[str] = []


def size_of(length: int) -> bytes:
    """Return the varint before a payload of *length* bytes."""
    return _VARINTS[length] if length < len(_VARINTS) else varint(length)


def append(out: Out, tag: bytes, payload: bytes) -> None:
    """Append *payload* as a length-delimited field."""
    out += (tag, size_of(len(payload)), payload)


def integer_of(value: Any, low: int, high: int) -> int:
    """Return the integer that *value* says as a number or text; whole floats are integers."""
    number = value
    is_text = type(value) is str and _INTEGER.fullmatch(value)
    if is_text or (type(value) is float and value.is_integer()):
        number = int(value)
    if type(number) is not int or not low <= number <= high:
        raise MismatchError(f"an integer from {low} to {high}", value)
    return number


def text_attribute(value: Any) -> bytes | None:
    """Return the KeyValue of the ordinary case, text under a known key; None for all others."""
    try:
        head, item = _KEY_HEADS[value["key"]], value["value"]
        if len(item) != 1 or type(item) is not dict:
            return None
        raw = item["stringValue"].encode()
    except (KeyError, TypeError, AttributeError):
        return None
    size = size_of(len(raw))
    return b"%b\x12%b\x0a%b%b" % (head, size_of(1 + len(size) + len(raw)), size, raw)


def _key_head(key: str) -> bytes:
    raw = key.encode()
    head = b"\x0a" + size_of(len(raw)) + raw
    if len(raw) <= _LONGEST_KEPT_KEY and len(_KEY_HEADS) < _KEPT_KEYS:
        _KEY_HEADS[key] = head
    return head


def key_value(value: Any, depth: int) -> bytes:
    """Return a KeyValue message."""
    if type(value) is not dict:
        raise MismatchError("an object with key and value", value)
    key, item = value.get("key"), value.get("value")
    if key is None:
        head = b""
    elif type(key) is str:
        head = _KEY_HEADS.get(key) or _key_head(key)
    else:
        raise MismatchError("an object whose key is text", value)
    if item is None:
        return head
    try:
        payload = any_value(item, depth)
    except MismatchError as error:
        error.path.append(".value")
        raise
    return b"%b\x12%b%b" % (head, size_of(len(payload)), payload)


def any_value(value: Any, depth: int) -> bytes:
    """Return an AnyValue message; no member gives the empty one."""
    if type(value) is not dict:
        raise MismatchError("an AnyValue object", value)
    if depth > MAX_VALUE_DEPTH:
        raise MismatchError(f"nested within {MAX_VALUE_DEPTH} levels", "...")
    encoded = b""
    for name, item in value.items():
        encoder = _VALUES.get(name)
        if encoder is None or item is None:
            continue
        if encoded:
            raise MismatchError("one value", list(value))
        try:
            encoded = encoder(item, depth)
        except MismatchError as error:
            error.path.append(f".{name}")
            raise
    return encoded


def _string_value(value: Any, _depth: int) -> bytes:
    if type(value) is not str:
        raise MismatchError("text", value)
    raw = value.encode()
    return b"\x0a" + size_of(len(raw)) + raw


def _bool_value(value: Any, _depth: int) -> bytes:
    if type(value) is not bool:
        raise MismatchError("true or false", value)
    return b"\x10\x01" if value else b"\x10\x00"


def _int_value(value: Any, _depth: int) -> bytes:
    low, high = -(2**63), 2**63 - 1
    if type(value) in (int, float) and not low <= value <= high:
        # JavaScript's exporter calls every whole number an integer: it had a double, it gets one.
        return b"\x21" + _DOUBLE(value)
    return b"\x18" + varint(integer_of(value, low, high))


def _double_value(value: Any, _depth: int) -> bytes:
    number = value
    if type(value) is str:
        number = _DOUBLES.get(value)
        if number is None and _NUMBER.fullmatch(value):
            number = float(value)
            if number in (float("inf"), float("-inf")):
                number = None
    if type(number) is int:
        number = float(number)
    if type(number) is not float:
        raise MismatchError("a number", value)
    return b"\x21" + _DOUBLE(number)


def _bytes_value(value: Any, _depth: int) -> bytes:
    raw = None
    if type(value) is str and value.isascii():
        padded = value.rstrip("=").translate(_URL_SAFE)
        try:
            raw = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
        except binascii.Error:
            raw = None
    if raw is None:
        raise MismatchError("base64 text", value)
    return b"\x3a" + size_of(len(raw)) + raw


def _items(value: Any, encode_one: Callable[[Any, int], bytes], depth: int) -> bytes:
    values = value.get("values") if type(value) is dict else value
    if values is None:
        return b""
    if type(value) is not dict or type(values) is not list:
        raise MismatchError("an object with an array of values", value)
    out: Out = []
    for position, item in enumerate(values):
        try:
            append(out, b"\x0a", encode_one(item, depth + 1))
        except MismatchError as error:
            error.path.append(f".values[{position}]")
            raise
    return b"".join(out)


def _array_value(value: Any, depth: int) -> bytes:
    payload = _items(value, any_value, depth)
    return b"\x2a" + size_of(len(payload)) + payload


def _kvlist_value(value: Any, depth: int) -> bytes:
    payload = _items(value, key_value, depth)
    return b"\x32" + size_of(len(payload)) + payload


_VALUES: Final[Mapping[str, Callable[[Any, int], bytes]]] = {
    "stringValue": _string_value,
    "intValue": _int_value,
    "boolValue": _bool_value,
    "doubleValue": _double_value,
    "arrayValue": _array_value,
    "kvlistValue": _kvlist_value,
    "bytesValue": _bytes_value,
}
