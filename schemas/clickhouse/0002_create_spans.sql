-- One row per span, clustered by the request it belongs to: all spans of a request are one read.
-- A span id is unique within its trace only, hence the trace in the key.
-- Columns for what `explain` and roll-ups read; the tail of the attributes in one Map a type, so
-- that 0, 0.0, false and "" stay what they were. Content (prompts, answers) is not kept here.
CREATE TABLE IF NOT EXISTS {database}.spans
(
    project                  LowCardinality(String),
    request_id               FixedString(16),
    span_id                  FixedString(8) CODEC(NONE),
    parent_span_id           FixedString(8),
    trace_id                 FixedString(16),
    name                     LowCardinality(String),
    kind                     Int8,
    start_time               DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    duration_ns              UInt64 CODEC(T64, ZSTD(1)),
    status_code              Int8,
    status_message           String,
    trace_state              String,
    trace_flags              UInt32 CODEC(T64, ZSTD(1)),
    service                  LowCardinality(String),
    environment              LowCardinality(String),
    scope_name               LowCardinality(String),
    scope_version            LowCardinality(String),
    schema_url               LowCardinality(String),
    composite_version        LowCardinality(Nullable(String)),
    arm                      LowCardinality(Nullable(String)),
    operation                LowCardinality(Nullable(String)),
    provider                 LowCardinality(Nullable(String)),
    model_requested          LowCardinality(Nullable(String)),
    model_served             LowCardinality(Nullable(String)),
    response_id              Nullable(String),
    input_tokens             Nullable(UInt64),
    output_tokens            Nullable(UInt64),
    error_type               LowCardinality(Nullable(String)),
    attributes_string        Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    attributes_int           Map(LowCardinality(String), Int64) CODEC(ZSTD(1)),
    attributes_double        Map(LowCardinality(String), Float64) CODEC(ZSTD(1)),
    attributes_bool          Map(LowCardinality(String), Bool) CODEC(ZSTD(1)),
    attributes_json          Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    resource_attributes      Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    scope_attributes         Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    events                   Array(Tuple(time DateTime64(9, 'UTC'), name String, attributes Map(LowCardinality(String), String))) CODEC(ZSTD(1)),
    links                    Array(Tuple(trace_id FixedString(16), span_id FixedString(8), trace_state String, attributes Map(LowCardinality(String), String))) CODEC(ZSTD(1)),
    dropped_attributes       UInt32,
    dropped_events           UInt32,
    dropped_links            UInt32,
    content_removed          Array(LowCardinality(String)),
    flags                    Array(LowCardinality(String)),
    received_at              DateTime64(3, 'UTC'),
    request_id_text          String ALIAS concat(
        lower(hex(substring(request_id, 1, 4))), '-', lower(hex(substring(request_id, 5, 2))), '-',
        lower(hex(substring(request_id, 7, 2))), '-', lower(hex(substring(request_id, 9, 2))), '-',
        lower(hex(substring(request_id, 11, 6)))),
    trace_id_hex             String ALIAS lower(hex(trace_id)),
    span_id_hex              String ALIAS lower(hex(span_id)),
    parent_span_id_hex       String ALIAS lower(hex(parent_span_id))
)
ENGINE = ReplacingMergeTree(received_at)
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(toInt64(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))), 'UTC'))
ORDER BY (project, request_id, trace_id, span_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
