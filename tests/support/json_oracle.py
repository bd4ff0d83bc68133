"""OTLP/JSON by protobuf's own reader: what a body means, as far as the two forms agree.

In: a parsed JSON body. Out: the message that ``google.protobuf.json_format`` makes of it after the
differences between OTLP/JSON and protobuf's JSON mapping are taken out of its way:

* ids are hex in any case; what is not hex becomes one zero byte (the span is rejected alone);
* only lowerCamelCase names count, others are passed over (protobuf takes snake_case too);
* names that a later OTLP added beside ours are passed over, as the specification asks;
* ``intValue`` as a number beyond 64 bits is a double, since JavaScript had one;
* what is refused here and taken there is not compared: names of enums, ``"+5"``, exponents and
  white space in integers.
"""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

IDS = frozenset({"traceId", "spanId", "parentSpanId"})
LATER = frozenset({"entityRefs", "keyStrindex", "stringValueStrindex"})
ANY_VALUE = "opentelemetry.proto.common.v1.AnyValue"
LONGEST_ID = 64


def expected(message_class: type[Message], value: object) -> Message:
    """Return what *value* means; raises json_format.ParseError where protobuf refuses it."""
    message = message_class()
    json_format.ParseDict(mended(value, message.DESCRIPTOR), message, max_recursion_depth=1000)
    return message


def mended(value: object, kind: Descriptor) -> Any:
    """Return *value*, a message of *kind*, as protobuf's JSON mapping would have it."""
    if not isinstance(value, dict):
        return value
    fields = {field.camelcase_name: field for field in kind.fields}
    known = {
        name: _field(item, fields[name])
        for name, item in value.items()
        if name in fields and name not in LATER and item is not None
    }
    number = known.get("intValue")
    is_number = kind.full_name == ANY_VALUE and isinstance(number, int | float)
    if is_number and not -(2**63) <= number < 2**63:
        known["doubleValue"] = float(known.pop("intValue"))
    return known


def _field(item: object, field: FieldDescriptor) -> Any:
    if field.is_repeated:
        return [_one(one, field) for one in item] if isinstance(item, list) else item
    return _one(item, field)


def _one(item: object, field: FieldDescriptor) -> Any:
    if field.message_type is not None:
        return mended(item, field.message_type)
    if field.camelcase_name in IDS and isinstance(item, str):
        return base64.b64encode(_id(item)).decode()
    return item


def _id(text: str) -> bytes:
    try:
        return bytes.fromhex(text) if _is_plain(text) else b"\0"
    except ValueError:
        return b"\0"


def _is_plain(text: str) -> bool:
    """Whether bytes.fromhex, which passes over white space, reads *text* as it stands."""
    return text.isascii() and len(text) <= LONGEST_ID and not any(one.isspace() for one in text)
