-- One row per score somebody or something gave a request, every revision of it: of one request, name
-- and scorer the one with the highest (scored_at, event_id) holds. A score may come before its request
-- or long after it; which version it is about is told by joining `requests` on (project, request_id).
-- The scorer is a digest, or undeclared:<source>/<name>. A voter is a digest, and empty where the
-- score came under a key that may send whatever it likes (scope ingest). Kept for ever.
CREATE TABLE IF NOT EXISTS {database}.scores
(
    project              LowCardinality(String),
    request_id           FixedString(16),
    name                 LowCardinality(String),
    scorer               String,
    event_id             FixedString(16),
    source               LowCardinality(String),
    voter                String,
    value                Nullable(Float64),
    label                Nullable(String),
    scored_at            DateTime64(9, 'UTC'),
    actor                LowCardinality(String),
    received_at          DateTime64(3, 'UTC'),
    delay_ms             Int64 ALIAS toUnixTimestamp64Milli(scored_at) - toInt64(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))),
    request_id_text      String ALIAS concat(
        lower(hex(substring(request_id, 1, 4))), '-', lower(hex(substring(request_id, 5, 2))), '-',
        lower(hex(substring(request_id, 7, 2))), '-', lower(hex(substring(request_id, 9, 2))), '-',
        lower(hex(substring(request_id, 11, 6))))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(toInt64(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))), 'UTC'))
ORDER BY (project, request_id, name, scorer, event_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
