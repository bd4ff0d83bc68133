-- One row per producer (a process that captures, or the child of a fork): how far it counted, how it
-- ended and what it knowingly lost, as it or the one that adopted its spool said last.
-- Read beside `requests` to find numbers without a record, and by `explain` to tell whether the
-- process of an unfinished request has ended. Kept for ever.
CREATE TABLE IF NOT EXISTS {database}.producers
(
    project              LowCardinality(String),
    producer_id          FixedString(16),
    revision             UInt64,
    state                LowCardinality(String),
    last                 UInt64,
    started_at           Nullable(DateTime64(9, 'UTC')),
    last_at              Nullable(DateTime64(9, 'UTC')),
    ended_at             Nullable(DateTime64(9, 'UTC')),
    service              LowCardinality(String),
    environment          LowCardinality(String),
    losses               Array(Tuple(reason LowCardinality(String), count UInt64, first UInt64, last UInt64)),
    received_at          DateTime64(3, 'UTC'),
    producer_id_text     String ALIAS concat(
        lower(hex(substring(producer_id, 1, 4))), '-', lower(hex(substring(producer_id, 5, 2))), '-',
        lower(hex(substring(producer_id, 7, 2))), '-', lower(hex(substring(producer_id, 9, 2))), '-',
        lower(hex(substring(producer_id, 11, 6))))
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (project, producer_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
