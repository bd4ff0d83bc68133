-- How many requests of one minute met a slot with one value that it should not have had. Made anew,
-- a whole minute at a time, from the records; the newest revision of a row holds, and a row without
-- requests is one that a later record took back. Read by the collector, which makes episodes of it.
-- `what` is what the records say of the slot; for one that nobody declared `changed`, `pinned` (which
-- is drift from a pinned part too) and `volatile` are the notes of a change, and `met` the requests
-- that met the new value. `observed` is `*` where one minute showed many values. Kept for ever: there are rows only where something drifted.
CREATE TABLE IF NOT EXISTS {database}.drift_minutes
(
    project              LowCardinality(String),
    service              LowCardinality(String),
    environment          LowCardinality(String),
    kind                 LowCardinality(String),
    name                 String,
    what                 LowCardinality(String),
    expected             String,
    observed             String,
    minute               DateTime('UTC'),
    revision             UInt64,
    first_request        FixedString(16),
    last_request         FixedString(16),
    requests             UInt64,
    changed_at           DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (project, service, environment, kind, name, what, expected, observed, minute)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
