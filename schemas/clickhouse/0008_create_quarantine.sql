-- What was received but may not become evidence, with the reason: nothing is dropped without a row.
CREATE TABLE IF NOT EXISTS {database}.quarantine
(
    project              LowCardinality(String),
    received_at          DateTime64(3, 'UTC'),
    quarantine_id        FixedString(16),
    reason               LowCardinality(String),
    detail               String,
    subject              String,
    body                 String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (project, received_at, quarantine_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
