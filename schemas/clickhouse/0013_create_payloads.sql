-- Content of requests (prompts, answers, documents) where the application lets any leave: after rules
-- (`redacted`) or encrypted under a data key of the person it is about (`full`); never otherwise.
-- One row a piece; what belongs together has one kind and one digest, the keyed one of the text as it
-- was. The digest is in the key: nobody's later row replaces an earlier one of another text.
-- It expires in whole parts: a partition is a week of requests that are kept equally long.
-- The data keys are not in the store, so that no copy of it can be read without them.
CREATE TABLE IF NOT EXISTS {database}.payloads
(
    project              LowCardinality(String),
    request_id           FixedString(16),
    kind                 String,
    digest               String,
    piece                UInt16,
    pieces               UInt16,
    subject              String,
    mode                 LowCardinality(String),
    key_id               String,
    nonce                String,
    body                 String CODEC(ZSTD(1)),
    bytes                UInt64,
    is_cut               Bool,
    redactions           Map(LowCardinality(String), UInt64),
    retention_days       UInt16,
    received_at          DateTime64(3, 'UTC'),
    request_id_text      String ALIAS concat(
        lower(hex(substring(request_id, 1, 4))), '-', lower(hex(substring(request_id, 5, 2))), '-',
        lower(hex(substring(request_id, 7, 2))), '-', lower(hex(substring(request_id, 9, 2))), '-',
        lower(hex(substring(request_id, 11, 6))))
)
ENGINE = ReplacingMergeTree(received_at)
PARTITION BY (retention_days, toMonday(fromUnixTimestamp64Milli(toInt64(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))), 'UTC')))
ORDER BY (project, request_id, kind, digest, piece)
TTL toDateTime(fromUnixTimestamp64Milli(toInt64(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))), 'UTC')) + toIntervalDay(retention_days)
SETTINGS index_granularity = 256, non_replicated_deduplication_window = 10000,
    ttl_only_drop_parts = 1, old_parts_lifetime = 1, fsync_after_insert = 1, fsync_part_directory = 1
