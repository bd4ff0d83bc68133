"""Generated values for laws: any request record that capture could make, field by field."""

from __future__ import annotations

import dataclasses
import time
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from mvtrace.ids import format_uuid7
from mvtrace.records import RequestRecord, UnixNano, Value

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(0, 2**40)
floats = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.booleans() | st.integers(-(2**70), 2**70) | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
now_ms = int(time.time() * 1000)
request_ids = st.builds(
    format_uuid7, st.integers(now_ms - 10**10, now_ms), st.integers(0, 2**74 - 1)
)
times = st.integers(1_600_000_000_000_000_000, 1_900_000_000_000_000_000)


def _hex(digits: int) -> st.SearchStrategy[str]:
    # Not all zero: OpenTelemetry calls such an id no id.
    return st.integers(1, 16**digits - 1).map(lambda number: f"{number:0{digits}x}")


BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "request_id": request_ids,
    "producer_id": request_ids,
    "parent_request_id": st.none() | request_ids,
    "cache_origin": st.none() | request_ids,
    "trace_id": st.none() | _hex(32),
    "span_id": st.none() | _hex(16),
    "composite_version": st.none() | _hex(64),
    "unit": st.none() | _hex(32),
    "share": st.none() | st.floats(0, 1),
    "schema_version": st.just(1),
    "revision": st.integers(1, 2),
    "sequence": numbers,
    "status_code": st.none() | st.integers(0, 4999),
}


def values_of(cls: type[Value]) -> st.SearchStrategy[Any]:
    """Return a strategy for *cls*, from the types of its fields."""
    hints = get_type_hints(cls)
    return st.builds(
        cls,
        **{
            field.name: BY_NAME[field.name] if field.name in BY_NAME else _of(hints[field.name])
            for field in dataclasses.fields(cls)
        },
    )


def _of(hint: Any) -> st.SearchStrategy[Any]:
    origin = get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(
            [st.none() if option is type(None) else _of(option) for option in get_args(hint)]
        )
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin is tuple:
        return st.lists(_of(get_args(hint)[0]), max_size=2).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(texts, plain, max_size=3)
    if isinstance(hint, type) and issubclass(hint, Value):
        return values_of(hint)
    simple = {str: texts, bool: st.booleans(), float: floats, int: numbers, UnixNano: times}
    return simple[hint]


records: st.SearchStrategy[RequestRecord] = values_of(RequestRecord)
