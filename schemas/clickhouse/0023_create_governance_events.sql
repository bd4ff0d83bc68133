-- The other decisions that need a key with the scope govern: retention and verdicts, as they were
-- said, with the key they came under. Kept for ever.
CREATE TABLE IF NOT EXISTS {database}.governance_events
(
    project              LowCardinality(String),
    name                 LowCardinality(String),
    at                   DateTime64(9, 'UTC'),
    seq                  UInt64,
    event_id             FixedString(16),
    actor                String,
    actor_label          String,
    body                 String CODEC(ZSTD(1)),
    received_at          DateTime64(3, 'UTC'),
    event_id_hex         String ALIAS lower(hex(event_id))
)
ENGINE = ReplacingMergeTree
ORDER BY (project, name, event_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
