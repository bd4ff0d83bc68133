"""The loader's oracle: OTLP messages to rows in slow, readable Python, written apart from the SQL.

In: batches as the inbox has them, in their order. Out: plain dicts as ``stored_spans`` and its
neighbours read them from a store: times as Unix nanoseconds, JSON texts parsed. It knows one load
of one segment into an empty store.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from mvtrace.content import URL_KEYS, is_content, is_event_content, plain_url
from mvtrace.otlp import field, varint
from mvtrace.store import Store

EARLIEST_NS = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * 10**9
DAY_MS = 86_400_000
SPAN_COLUMNS = (
    "project, request_id, span_id, parent_span_id, trace_id, name, kind, "
    "toUnixTimestamp64Nano(start_time) AS start_time, duration_ns, status_code, status_message, "
    "trace_state, trace_flags, service, environment, scope_name, scope_version, schema_url, "
    "composite_version, arm, operation, provider, model_requested, model_served, response_id, "
    "input_tokens, output_tokens, error_type, attributes_string, attributes_int, "
    "attributes_double, attributes_bool, attributes_json, resource_attributes, scope_attributes, "
    "arrayMap(e -> (toUnixTimestamp64Nano(e.time), e.name, e.attributes), events) AS events, "
    "arrayMap(l -> (l.trace_id, l.span_id, l.trace_state, l.attributes), links) AS links, "
    "dropped_attributes, dropped_events, dropped_links, content_removed, flags, "
    "toUnixTimestamp64Milli(received_at) AS received_at"
)


class Batch(NamedTuple):
    """One envelope of a segment."""

    request: ExportTraceServiceRequest | ExportLogsServiceRequest
    received_ms: int
    project: str = "default"


def write_segment(path: Path, batches: Sequence[Batch], *, first_seq: int = 1) -> Path:
    """Write *batches* as the inbox frames them, and return *path*."""
    frames = []
    for seq, batch in enumerate(batches, first_seq):
        number = 5 if isinstance(batch.request, ExportTraceServiceRequest) else 6
        envelope = (
            field(1, batch.project.encode())
            + b"\x10"
            + varint(batch.received_ms)
            + b"\x18"
            + varint(seq)
            + field(number, batch.request.SerializeToString())
        )
        frames.append(varint(len(envelope)) + envelope)
    path.write_bytes(b"".join(frames))
    return path


def expected_spans(batches: Sequence[Batch]) -> list[dict[str, Any]]:
    """Return the rows of ``spans`` that one segment of *batches* gives an empty store."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    spans = [item for batch in batches for item in _walk(batch)]
    ids = _request_ids(spans)
    for batch, resource, scopes, span in spans:
        claimed = _claimed(span)
        request_id = ids[(batch.project, span.trace_id, claimed)]
        row = _span_row(batch, resource, scopes, span)
        row["request_id"] = request_id
        if claimed and claimed.replace("-", "") != request_id.hex():
            row["flags"].append("claimed-id-ignored")
        found[(batch.project, request_id, span.trace_id, span.span_id)] = row
    return _sorted(found.values())


def stored_spans(store: Store) -> list[dict[str, Any]]:
    """Return what the store has, one row a key."""
    rows = [dict(row) for row in store.query(f"SELECT {SPAN_COLUMNS} FROM spans FINAL").dicts()]
    for row in rows:
        row["attributes_json"] = _parsed(row["attributes_json"])
        row["resource_attributes"] = _parsed(row["resource_attributes"])
        row["scope_attributes"] = _parsed(row["scope_attributes"])
        row["attributes_double"] = {k: _comparable(v) for k, v in row["attributes_double"].items()}
        row["attributes_bool"] = {k: bool(v) for k, v in row["attributes_bool"].items()}
        row["events"] = [
            (*_values(event)[:2], _parsed(_values(event)[2])) for event in row["events"]
        ]
        row["links"] = [(*_values(link)[:3], _parsed(_values(link)[3])) for link in row["links"]]
        row["content_removed"] = list(row["content_removed"])
        row["flags"] = list(row["flags"])
    return _sorted(rows)


def _values(item: Any) -> tuple[Any, ...]:
    return tuple(item.values()) if isinstance(item, dict) else tuple(item)


def _sorted(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda r: (r["project"], r["request_id"], r["trace_id"], r["span_id"]))


def _walk(batch: Batch) -> Iterable[tuple[Any, ...]]:
    for resource_spans in batch.request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield batch, resource_spans.resource, scope_spans, span


def _claimed(span: Any) -> str:
    for item in span.attributes:
        if item.key == "mvtrace.request.id":
            return str(item.value.string_value).lower()
    return ""


def _request_ids(spans: Sequence[tuple[Any, ...]]) -> dict[tuple[str, bytes, str], bytes]:
    """Return the request id of each (project, trace, claim)."""
    claims: dict[tuple[str, bytes], dict[str, bytes | None]] = {}
    starts: dict[tuple[str, bytes], int] = {}
    newest = {}
    for batch, _, _, span in spans:
        key = (batch.project, span.trace_id, _claimed(span))
        newest[key] = max(newest.get(key, 0), batch.received_ms)
    for batch, _, _, span in spans:
        trace = (batch.project, span.trace_id)
        claim = _claimed(span)
        claims.setdefault(trace, {})[claim] = _valid_id(claim, newest[(*trace, claim)])
        start = _sane(span.start_time_unix_nano, batch.received_ms)
        starts[trace] = min(starts.get(trace, start), start)
    ids = {}
    for (project, trace_id), of_trace in claims.items():
        valid = sorted(value for value in of_trace.values() if value is not None)
        minted = _minted(project, trace_id, starts[(project, trace_id)] // 10**6)
        for claim, value in of_trace.items():
            ids[(project, trace_id, claim)] = value or (valid[0] if valid else minted)
    return ids


def _valid_id(text: str, received_ms: int) -> bytes | None:
    if not re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text
    ):
        return None
    value = UUID(text).bytes
    ms = int.from_bytes(value[:6])
    return value if EARLIEST_NS // 10**6 <= ms <= received_ms + DAY_MS else None


def _minted(project: str, trace_id: bytes, start_ms: int) -> bytes:
    seed = hashlib.sha256(project.encode() + b"\n" + trace_id).hexdigest()
    variant = "89ab"[trace_id[0] % 4]
    return start_ms.to_bytes(6) + bytes.fromhex("7" + seed[:3] + variant + seed[3:18])


def _sane(time_ns: int, received_ms: int) -> int:
    return min(max(time_ns, EARLIEST_NS), (received_ms + DAY_MS) * 10**6)


def _span_row(batch: Batch, resource: Any, scope_spans: Any, span: Any) -> dict[str, Any]:
    scope = scope_spans.scope
    start = _sane(span.start_time_unix_nano, batch.received_ms)
    end = _sane(span.end_time_unix_nano, batch.received_ms)
    typed = _typed(span.attributes)
    strings, ints = typed["string_value"], typed["int_value"]
    return {
        "project": batch.project,
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id if len(span.parent_span_id) == 8 else bytes(8),
        "trace_id": span.trace_id,
        "name": span.name,
        "kind": span.kind if 0 <= span.kind <= 5 else 0,
        "start_time": start,
        "duration_ns": max(0, end - start),
        "status_code": span.status.code if 0 <= span.status.code <= 2 else 0,
        "status_message": "",
        "trace_state": span.trace_state,
        "trace_flags": span.flags,
        "service": _string(resource.attributes, "service.name"),
        "environment": _string(resource.attributes, "deployment.environment.name"),
        "scope_name": scope.name,
        "scope_version": scope.version,
        "schema_url": scope_spans.schema_url,
        "composite_version": strings.get("mvtrace.composite.version"),
        "arm": strings.get("mvtrace.arm"),
        "operation": strings.get("gen_ai.operation.name"),
        "provider": strings.get("gen_ai.provider.name", strings.get("gen_ai.system")),
        "model_requested": strings.get("gen_ai.request.model"),
        "model_served": strings.get("gen_ai.response.model"),
        "response_id": strings.get("gen_ai.response.id"),
        "input_tokens": _count(ints.get("gen_ai.usage.input_tokens")),
        "output_tokens": _count(ints.get("gen_ai.usage.output_tokens")),
        "error_type": strings.get("error.type"),
        "attributes_string": strings,
        "attributes_int": ints,
        "attributes_double": {k: _comparable(v) for k, v in typed["double_value"].items()},
        "attributes_bool": typed["bool_value"],
        "attributes_json": typed["json"],
        "resource_attributes": _plain(resource.attributes),
        "scope_attributes": _plain(scope.attributes),
        "events": [
            (_sane(e.time_unix_nano, batch.received_ms), e.name, _plain(e.attributes, e.name))
            for e in span.events
        ],
        "links": [
            (
                _id(link.trace_id, 16),
                _id(link.span_id, 8),
                link.trace_state,
                _plain(link.attributes, ""),
            )
            for link in span.links
        ],
        "dropped_attributes": span.dropped_attributes_count,
        "dropped_events": span.dropped_events_count,
        "dropped_links": span.dropped_links_count,
        "content_removed": _content(span, resource, scope),
        "flags": _flags(span, start, end, batch.received_ms),
        "received_at": batch.received_ms,
    }


def _flags(span: Any, start: int, end: int, received_ms: int) -> list[str]:
    flags = []
    if start != span.start_time_unix_nano:
        flags.append("start-time-clamped")
    if span.end_time_unix_nano not in (0, end):
        flags.append("end-time-clamped")
    if span.end_time_unix_nano == 0:
        flags.append("no-end-time")
    elif end < start:
        flags.append("end-before-start")
    if len(span.parent_span_id) not in (0, 8):
        flags.append("malformed-parent-id")
    if any(_sane(e.time_unix_nano, received_ms) != e.time_unix_nano for e in span.events):
        flags.append("event-time-clamped")
    return flags


def _content(span: Any, resource: Any, scope: Any) -> list[str]:
    owners = [span, resource, scope]
    found = {item.key for owner in owners for item in owner.attributes if is_content(item.key)}
    for part in (*span.events, *span.links):
        event = getattr(part, "name", "")
        found |= {item.key for item in part.attributes if _is_nested_content(event, item.key)}
    return sorted(found | ({"otel.status_description"} if span.status.message else set()))


def _is_nested_content(event: str, key: str) -> bool:
    return key in URL_KEYS or is_event_content(event, key)


def _facts(attributes: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    """Yield what is no content, the first of a repeated key."""
    seen = set()
    for item in attributes:
        if item.key not in seen and not is_content(item.key):
            yield item.key, item.value
        seen.add(item.key)


def _typed(attributes: Iterable[Any]) -> dict[str, dict[str, Any]]:
    typed: dict[str, dict[str, Any]] = {
        kind: {} for kind in ("string_value", "int_value", "double_value", "bool_value", "json")
    }
    for key, value in _facts(attributes):
        kind = value.WhichOneof("value")
        if kind in typed:
            text = getattr(value, kind)
            typed[kind][key] = plain_url(text) if _is_url(key, kind) else text
        else:
            typed["json"][key] = _value(value)
    return typed


def _is_url(key: str, kind: str) -> bool:
    return key in URL_KEYS and kind == "string_value"


def _plain(attributes: Iterable[Any], event: str | None = None) -> dict[str, Any]:
    """Return JSON values; *event* names the span event, "" a link, None a resource or scope."""
    return {
        key: _value(value)
        for key, value in _facts(attributes)
        if event is None or not _is_nested_content(event, key)
    }


def _value(value: Any) -> Any:
    """Return what the JSON text of *value* parses to, doubles told from integers."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "double_value":
        return _comparable(value.double_value)
    if kind == "bytes_value":
        return {"$bytes": base64.b64encode(value.bytes_value).decode()}
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        pairs = [
            ("$" + item.key if item.key.startswith("$") else item.key, _value(item.value))
            for item in value.kvlist_value.values
        ]
        return dict(reversed(pairs))
    return getattr(value, kind)


def _comparable(value: float) -> Any:
    if math.isnan(value):
        return {"$double": "NaN"}
    if math.isinf(value):
        return {"$double": "Infinity" if value > 0 else "-Infinity"}
    return ("double", repr(value))


def _parsed(texts: Mapping[str, str]) -> dict[str, Any]:
    return {
        key: json.loads(text, parse_float=lambda number: _comparable(float(number)))
        for key, text in texts.items()
    }


def _string(attributes: Iterable[Any], key: str) -> str:
    return next((str(item.value.string_value) for item in attributes if item.key == key), "")


def _count(value: int | None) -> int | None:
    return value if value is not None and value >= 0 else None


def _id(raw: bytes, size: int) -> bytes:
    return raw if len(raw) == size else bytes(size)
