-- One row per request and revision: the record's canonical bytes, and columns derived from them.
-- Read by `mvtrace explain` by request id and by lists over a time range; the id is the time, so
-- one sort order serves both. A later revision replaces an earlier one.
CREATE TABLE IF NOT EXISTS {database}.requests
(
    project              LowCardinality(String),
    request_id           FixedString(16),
    revision             UInt64,
    record               String CODEC(ZSTD(3)),
    record_digest        FixedString(32),
    producer_id          FixedString(16),
    sequence             UInt64,
    received_at          DateTime64(3, 'UTC'),
    state                LowCardinality(String),
    outcome              LowCardinality(Nullable(String)),
    started_at           DateTime64(9, 'UTC'),
    ended_at             Nullable(DateTime64(9, 'UTC')),
    duration_ns          Nullable(UInt64),
    first_byte_ns        Nullable(UInt64),
    status_code          Nullable(UInt16),
    error_type           LowCardinality(Nullable(String)),
    service              LowCardinality(String),
    environment          LowCardinality(String),
    protocol             LowCardinality(String),
    method               LowCardinality(Nullable(String)),
    route                LowCardinality(Nullable(String)),
    trace_id             Nullable(FixedString(16)),
    span_id              Nullable(FixedString(8)),
    parent_request_id    Nullable(FixedString(16)),
    conversation_id      Nullable(String),
    composite_version    LowCardinality(Nullable(String)),
    composite_name       LowCardinality(Nullable(String)),
    arm                  LowCardinality(Nullable(String)),
    models_requested     Array(LowCardinality(String)),
    models_served        Array(LowCardinality(String)),
    index_snapshots      Array(LowCardinality(String)),
    routes_chosen        Array(LowCardinality(String)),
    finish_reasons       Array(LowCardinality(String)),
    calls                UInt32,
    input_tokens         Nullable(UInt64),
    output_tokens        Nullable(UInt64),
    drift                UInt32,
    request_id_text      String ALIAS concat(
        lower(hex(substring(request_id, 1, 4))), '-', lower(hex(substring(request_id, 5, 2))), '-',
        lower(hex(substring(request_id, 7, 2))), '-', lower(hex(substring(request_id, 9, 2))), '-',
        lower(hex(substring(request_id, 11, 6)))),
    trace_id_hex         Nullable(String) ALIAS lower(hex(trace_id))
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(toInt64(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))), 'UTC'))
ORDER BY (project, request_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
