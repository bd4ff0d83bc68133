-- One row per hole found in a producer's numbers: records that were taken and are not stored.
-- A row is never deleted: records that come late shrink `missing`, and at 0 the state is `filled`.
-- The more is filled, the higher the revision, so that the row which knows more stays, whoever
-- wrote it. Read by `explain`, lists and metrics, newest row of a key only. Kept for ever.
CREATE TABLE IF NOT EXISTS {database}.ingest_gaps
(
    project              LowCardinality(String),
    producer_id          FixedString(16),
    first                UInt64,
    last                 UInt64,
    revision             UInt64,
    state                LowCardinality(String),
    missing              UInt64,
    missing_ranges       Array(Tuple(first UInt64, last UInt64)),
    reason               LowCardinality(String),
    service              LowCardinality(String),
    environment          LowCardinality(String),
    started_after        Nullable(DateTime64(3, 'UTC')),
    started_before       Nullable(DateTime64(3, 'UTC')),
    detected_at          DateTime64(3, 'UTC'),
    changed_at           DateTime64(3, 'UTC'),
    producer_id_text     String ALIAS concat(
        lower(hex(substring(producer_id, 1, 4))), '-', lower(hex(substring(producer_id, 5, 2))), '-',
        lower(hex(substring(producer_id, 7, 2))), '-', lower(hex(substring(producer_id, 9, 2))), '-',
        lower(hex(substring(producer_id, 11, 6))))
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (project, producer_id, first)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
