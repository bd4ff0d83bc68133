-- Other ids of a request (trace id, x-request-id, a provider's response id) -> request id.
-- They are untrusted and not unique: one alias may name several requests, and all are kept.
-- Looked up by the alias alone, hence the hash first; never by time.
CREATE TABLE IF NOT EXISTS {database}.request_aliases
(
    project              LowCardinality(String),
    alias_hash           UInt64,
    kind                 LowCardinality(String),
    alias                String,
    request_id           FixedString(16),
    received_at          DateTime64(3, 'UTC'),
    request_id_text      String ALIAS concat(
        lower(hex(substring(request_id, 1, 4))), '-', lower(hex(substring(request_id, 5, 2))), '-',
        lower(hex(substring(request_id, 7, 2))), '-', lower(hex(substring(request_id, 9, 2))), '-',
        lower(hex(substring(request_id, 11, 6))))
)
ENGINE = ReplacingMergeTree(received_at)
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(toInt64(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))), 'UTC'))
ORDER BY (project, alias_hash, kind, alias, request_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
