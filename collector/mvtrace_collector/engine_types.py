"""How the engine is told to read a segment: columns over the messages of ``sql/envelope.proto``.

Two readings of one file, one for spans and one for log records: what a reading does not name the
engine skips unparsed. The oneof's own column (``value``) tells which member a value has, so that
0, 0.0, "" and false differ from one another and from a value that is unset.
"""

from __future__ import annotations

from typing import Final

_VALUE: Final = (
    "Tuple(string_value String, bool_value Bool, int_value Int64, double_value Float64, "
    "array_value String, kvlist_value String, bytes_value String, "
    "value Enum8('' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'm' = 6, 'y' = 7))"
)
ATTRIBUTES: Final = f"Array(Tuple(key String, value {_VALUE}))"

_SPAN: Final = (
    "Tuple(trace_id String, span_id String, trace_state String, parent_span_id String, "
    "name String, kind Int32, start_time_unix_nano UInt64, end_time_unix_nano UInt64, "
    f"attributes {ATTRIBUTES}, dropped_attributes_count UInt32, "
    f"events Array(Tuple(time_unix_nano UInt64, name String, attributes {ATTRIBUTES})), "
    "dropped_events_count UInt32, "
    "links Array(Tuple(trace_id String, span_id String, trace_state String, "
    f"attributes {ATTRIBUTES})), dropped_links_count UInt32, "
    "status Tuple(message String, code Int32), flags UInt32)"
)
_LOG: Final = (
    "Tuple(time_unix_nano UInt64, severity_number Int32, severity_text String, "
    f"body {_VALUE}, attributes {ATTRIBUTES}, trace_id String, span_id String, "
    "observed_time_unix_nano UInt64, event_name String)"
)
_ENVELOPE: Final = "project String, received_ms UInt64, seq UInt64"

SPANS: Final = (
    f"{_ENVELOPE}, traces Tuple(resource_spans Array(Tuple(resource String, scope_spans "
    f"Array(Tuple(scope String, spans Array({_SPAN}), schema_url String)))))"
)
LOGS: Final = (
    f"{_ENVELOPE}, actor String, actor_label String, grants String, ahead_ms Int64, "
    "logs Tuple(resource_logs Array(Tuple(resource String, scope_logs "
    f"Array(Tuple(scope String, log_records Array({_LOG}))))))"
)

_TEXT: Final = "Nullable(String)"
_NUMBER: Final = "Nullable(Int64)"

RECORD: Final = (
    f"Tuple(schema_version {_NUMBER}, request_id {_TEXT}, revision {_NUMBER}, state {_TEXT}, "
    f"producer_id {_TEXT}, sequence {_NUMBER}, parent_request_id {_TEXT}, service {_TEXT}, "
    f"environment {_TEXT}, protocol {_TEXT}, method {_TEXT}, route {_TEXT}, trace_id {_TEXT}, "
    f"span_id {_TEXT}, conversation_id {_TEXT}, started_at {_TEXT}, ended_at {_TEXT}, "
    f"first_byte_at {_TEXT}, outcome {_TEXT}, status_code {_NUMBER}, error_type {_TEXT}, "
    f"composite_version {_TEXT}, composite_name {_TEXT}, arm {_TEXT}, "
    f"assignment Tuple(rollout {_TEXT}, unit {_TEXT}, share Nullable(Float64)), "
    f"aliases Array(Tuple(kind {_TEXT}, value {_TEXT})), "
    f"router_decisions Array(Tuple(chosen {_TEXT})), index_snapshots Array(Tuple(digest {_TEXT})), "
    f"calls Array(Tuple(model_requested {_TEXT}, model_served {_TEXT}, finish_reason {_TEXT}, "
    f"response_id {_TEXT}, usage Tuple(input_tokens {_NUMBER}, output_tokens {_NUMBER}))))"
)
"""What the typed columns of ``requests`` read from a record; all else stays in its bytes."""
