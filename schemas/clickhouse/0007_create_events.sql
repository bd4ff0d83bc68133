-- Log records of the gen_ai.* conventions, as they came, without content: attributes as JSON text.
-- Read by `explain` beside the spans of the request. The event's id is the digest of what it says,
-- so that the same event sent twice is one row.
CREATE TABLE IF NOT EXISTS {database}.events
(
    project              LowCardinality(String),
    request_id           FixedString(16),
    event_id             FixedString(16),
    time                 DateTime64(9, 'UTC'),
    name                 LowCardinality(String),
    trace_id             FixedString(16),
    span_id              FixedString(8),
    service              LowCardinality(String),
    environment          LowCardinality(String),
    scope_name           LowCardinality(String),
    severity_number      Int8,
    severity_text        LowCardinality(String),
    attributes           Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    resource_attributes  Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    content_removed      Array(LowCardinality(String)),
    received_at          DateTime64(3, 'UTC'),
    request_id_text      String ALIAS concat(
        lower(hex(substring(request_id, 1, 4))), '-', lower(hex(substring(request_id, 5, 2))), '-',
        lower(hex(substring(request_id, 7, 2))), '-', lower(hex(substring(request_id, 9, 2))), '-',
        lower(hex(substring(request_id, 11, 6)))),
    trace_id_hex         String ALIAS lower(hex(trace_id)),
    span_id_hex          String ALIAS lower(hex(span_id))
)
ENGINE = ReplacingMergeTree(received_at)
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(toInt64(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))), 'UTC'))
ORDER BY (project, request_id, event_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
