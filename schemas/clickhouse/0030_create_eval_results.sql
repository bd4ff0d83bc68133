-- One row per result: what a scorer gave the answer of one version to one example of a suite, in one
-- run. Taken from the entries of kind 'results' (`entry` is the digest), which came in `pieces` pieces: a
-- run is whole if it has as many. Two entries that claim one piece of a run stay apart, and the run
-- counts as none. `scorer` is a digest, or undeclared:<source>/<name>; a result with no value was not
-- scored, and its label says why. Read by suite and scorer, then version. Kept for ever.
CREATE TABLE IF NOT EXISTS {database}.eval_results
(
    project              LowCardinality(String),
    suite                LowCardinality(String),
    scorer               LowCardinality(String),
    composite            LowCardinality(String),
    run                  String CODEC(ZSTD(1)),
    entry                String CODEC(ZSTD(1)),
    example              String CODEC(ZSTD(1)),
    repeat               UInt32,
    cluster              String CODEC(ZSTD(1)),
    value                Nullable(Float64),
    label                LowCardinality(String),
    request_id           Nullable(FixedString(16)),
    piece                UInt32,
    pieces               UInt32,
    recorded_at          DateTime64(9, 'UTC'),
    received_at          DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (project, suite, scorer, composite, run, entry, example, repeat)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
