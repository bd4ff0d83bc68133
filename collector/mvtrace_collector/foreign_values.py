"""OTLP values that SQL cannot read: nested ones, and whole resources and scopes, as rows.

In: protobuf bytes, as the engine passed them on. Out: JSON text that keeps each type: doubles with
``.`` or ``e`` (or ``{"$double": "NaN"}``), bytes as ``{"$bytes": "<base64>"}``, an unset value as
null; a map's own key that begins with ``$`` gets another one, so that no map looks like a tag. Of a
repeated key the first counts. A segment has few different ones, and each is decoded once.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from mvtrace.content import is_content
from mvtrace.semconv import DEPLOYMENT_ENVIRONMENT, SERVICE_NAME


class ScopeRow(NamedTuple):
    """One resource and scope as columns; what ``stage_scopes`` holds."""

    resource: bytes
    scope: bytes
    service: str
    environment: str
    scope_name: str
    scope_version: str
    resource_attributes: dict[str, str]
    scope_attributes: dict[str, str]
    content_above: list[str]
    digest_key: str = ""
    """Beside each, since as a column it is in no text of a statement, log or error message."""


def scope_row(resource: bytes, scope: bytes) -> ScopeRow:
    """Return the row of a serialized Resource and a serialized InstrumentationScope."""
    seen = Resource.FromString(resource)
    made_by = InstrumentationScope.FromString(scope)
    texts = {item.key: item.value.string_value for item in reversed(seen.attributes)}
    keys = {item.key for item in (*seen.attributes, *made_by.attributes)}
    return ScopeRow(
        resource,
        scope,
        texts.get(SERVICE_NAME, ""),
        texts.get(DEPLOYMENT_ENVIRONMENT, ""),
        made_by.name,
        made_by.version,
        attribute_texts(seen.attributes),
        attribute_texts(made_by.attributes),
        sorted(key for key in keys if is_content(key)),
    )


def attribute_texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Return key -> JSON text of what is not content."""
    texts: dict[str, str] = {}
    for item in attributes:
        if item.key not in texts and not is_content(item.key):
            texts[item.key] = json_text(item.value)
    return texts


def nested_text(kind: str, raw: bytes) -> str:
    """Return the JSON text of *raw*: an ArrayValue (kind ``a``) or a KeyValueList (``m``)."""
    try:
        if kind == "a":
            return json_text(AnyValue(array_value=ArrayValue.FromString(raw)))
        return json_text(AnyValue(kvlist_value=KeyValueList.FromString(raw)))
    except DecodeError:
        return _bytes(raw)


def json_text(value: AnyValue) -> str:
    """Return *value* as JSON text that keeps its type."""
    kind = value.WhichOneof("value")
    return _TEXT_OF[kind](value) if kind is not None else "null"


def _map(items: Iterable[KeyValue]) -> str:
    texts: dict[str, str] = {}
    for item in items:
        key = "$" + item.key if item.key.startswith("$") else item.key
        texts.setdefault(key, json_text(item.value))
    return "{" + ",".join(f"{_quoted(key)}:{text}" for key, text in texts.items()) + "}"


def _bytes(value: bytes) -> str:
    return _tagged("bytes", base64.b64encode(value).decode())


def _double(value: float) -> str:
    if math.isnan(value):
        return _tagged("double", "NaN")
    if math.isinf(value):
        return _tagged("double", "Infinity" if value > 0 else "-Infinity")
    return repr(value)


def _tagged(tag: str, text: str) -> str:
    return f'{{"${tag}":{_quoted(text)}}}'


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


_TEXT_OF: Final[Mapping[str, Callable[[AnyValue], str]]] = {
    "string_value": lambda value: _quoted(value.string_value),
    "bool_value": lambda value: "true" if value.bool_value else "false",
    "int_value": lambda value: str(value.int_value),
    "double_value": lambda value: _double(value.double_value),
    "bytes_value": lambda value: _bytes(value.bytes_value),
    "array_value": lambda value: "[" + ",".join(map(json_text, value.array_value.values)) + "]",
    "kvlist_value": lambda value: _map(value.kvlist_value.values),
}
