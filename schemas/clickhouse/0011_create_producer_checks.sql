-- How far each producer's numbers were checked: each one up to `checked` is stored or in a gap.
-- `known` is the highest number seen. A settled producer has ended and is checked to its end.
-- Written by the collectors, so that a restart goes on where it was instead of reading all records.
CREATE TABLE IF NOT EXISTS {database}.producer_checks
(
    project              LowCardinality(String),
    producer_id          FixedString(16),
    checked              UInt64,
    known                UInt64,
    is_settled           Bool,
    revision             UInt64,
    checked_to           Nullable(DateTime64(3, 'UTC')),
    known_to             Nullable(DateTime64(3, 'UTC')),
    service              LowCardinality(String),
    environment          LowCardinality(String),
    changed_at           DateTime64(3, 'UTC'),
    producer_id_text     String ALIAS concat(
        lower(hex(substring(producer_id, 1, 4))), '-', lower(hex(substring(producer_id, 5, 2))), '-',
        lower(hex(substring(producer_id, 7, 2))), '-', lower(hex(substring(producer_id, 9, 2))), '-',
        lower(hex(substring(producer_id, 11, 6))))
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (project, producer_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
