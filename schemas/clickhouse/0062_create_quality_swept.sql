-- How far the roll-up of a project is: the row of the hour 1970-01-01 00:00 says up to when all that was
-- received is in it, but for the hours with a row of their own and `lacks`: those lack what was received
-- since theirs. The newest revision of a row holds. Written by the collector as it sweeps, read by whoever
-- compares, so that nobody takes what is not there yet for what is not. Kept for ever.
CREATE TABLE IF NOT EXISTS {database}.quality_swept
(
    project              LowCardinality(String),
    hour                 DateTime('UTC') CODEC(Delta, ZSTD(1)),
    lacks                Bool,
    swept_to             DateTime64(3, 'UTC'),
    revision             UInt64
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (project, hour)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
