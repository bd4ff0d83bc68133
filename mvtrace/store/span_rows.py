"""Rows of ``request_spans.sql`` as values.

In: a span's ids, times, doubles and the JSON array in its column ``shown``, which the engine makes
of what else is shown of a span (``0016_add_shown_spans.sql``). Out: :class:`StoredSpan`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from mvtrace.explain.evidence import StoredSpan
from mvtrace.store.rows import Row, json_values, raw_bytes

_FIELDS: Final = (
    "name",
    "kind",
    "status_code",
    "status_message",
    "service",
    "environment",
    "scope",
    "composite_version",
    "arm",
    "operation",
    "provider",
    "model_requested",
    "model_served",
    "response_id",
    "input_tokens",
    "output_tokens",
    "error_type",
)
"""The first values of ``shown``, which are fields of the same name; the others follow."""
_CALL_FIELDS: Final = (
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "finish_reason",
    "conversation_id",
    "tool_name",
    "prompt_name",
    "prompt_version",
    "fingerprint",
    "seed",
    "sampling",
    "documents",
)
"""The last ones; a span that was stored before ``0024_add_call_columns.sql`` has none of them."""
_CALL_FIELDS_AT: Final = len(_FIELDS) + 9
_NANOSECONDS: Final = 1_000_000_000


def stored_spans(found: Iterable[Row], request_id: str) -> list[StoredSpan]:
    """Return the rows of ``request_spans.sql``, each span once, in the order they started."""
    newest: dict[tuple[bytes, bytes], Row] = {}
    for row in found:
        span_id, _parent, trace_id, *_, received_at = row
        key = (raw_bytes(trace_id), raw_bytes(span_id))
        if key not in newest or newest[key][-1] <= received_at:
            newest[key] = row
    spans = [_stored_span(row, request_id) for row in newest.values()]
    return sorted(spans, key=lambda span: span.started_at)


def _stored_span(row: Row, request_id: str) -> StoredSpan:
    span_id, parent_id, trace_id, started_at, duration_ns, shown, doubles, _ = row
    parent = raw_bytes(parent_id)
    values = orjson.loads(raw_bytes(shown).decode("utf-8", "replace"))
    strings, integers, booleans, others, events, links, dropped, removed, flags = values[
        len(_FIELDS) : _CALL_FIELDS_AT
    ]
    typed = (
        *strings.items(),
        *integers.items(),
        *((key, _finite(value)) for key, value in doubles.items()),
        *booleans.items(),
        *json_values(others).items(),
    )
    return StoredSpan(
        request_id=request_id,
        span_id=raw_bytes(span_id).hex(),
        parent_span_id=parent.hex() if any(parent) else None,
        trace_id=raw_bytes(trace_id).hex(),
        started_at=started_at,
        duration_ns=duration_ns,
        attributes=dict(sorted(typed)),
        events=tuple(map(_event, events)),
        links=tuple(map(_link, links)),
        dropped=dropped,
        content_removed=tuple(removed),
        flags=tuple(flags),
        **dict(zip(_FIELDS, values, strict=False)),
        **dict(zip(_CALL_FIELDS, values[_CALL_FIELDS_AT:], strict=False)),
    )


def _finite(value: float) -> Any:
    """Return a double as JSON can hold it: NaN and infinity tagged, as in the Maps of JSON text."""
    if math.isfinite(value):
        return value
    return {"$double": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}


def _event(values: Sequence[Any]) -> Mapping[str, Any]:
    at, name, attributes = values
    seconds, rest = divmod(at, _NANOSECONDS)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000, tzinfo=None)
    return {
        "time": f"{moment.isoformat(timespec='microseconds')}Z",
        "name": name,
        "attributes": json_values(attributes),
    }


def _link(values: Sequence[Any]) -> Mapping[str, Any]:
    trace_id, span_id, attributes = values
    return {"trace_id": trace_id, "span_id": span_id, "attributes": json_values(attributes)}
