-- In which hours a unit was met (`metric` is `>unit`), or had a bad event (its metric's name), within one
-- rollout, and by which request first; a row whose request is zero bytes was taken back. Of all rows of
-- a unit the earliest hour is its first, whatever came late or twice. Made anew beside quality_hourly, an
-- hour at a time; read only then, to tell what is first. A unit is a keyed digest. Kept for ever.
CREATE TABLE IF NOT EXISTS {database}.quality_units
(
    project              LowCardinality(String),
    rollout              LowCardinality(String),
    environment          LowCardinality(String),
    service              LowCardinality(String),
    metric               LowCardinality(String),
    hour                 DateTime('UTC') CODEC(Delta, ZSTD(1)),
    unit                 FixedString(16),
    revision             UInt64 CODEC(Delta, ZSTD(1)),
    request_id           FixedString(16)
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (project, rollout, environment, service, metric, hour, unit)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
