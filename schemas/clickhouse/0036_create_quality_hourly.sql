-- What the requests of one hour came to, of one version and arm, by metric: sums, which add over hours. The
-- hour is that of the exposure, told by the request's id. Beside each sum stands, in a list, what each bucket
-- of the hour has of it, by growing bucket: a bucket is a hash of the unit that was assigned to an arm (else
-- of the request), with another salt than the assignment's. What is only counted (`request`, NAME:first and
-- what begins with >) has no buckets. Lists and not rows of their own: a comparison reads some thousand rows
-- then, and not a million, whether parts are merged or not.
-- `phase` is the share that was planned for the canary, as text, and empty where none was, so that what
-- was assigned under two shares is told apart. `base` is what a ratio divides by, else the count.
-- Metrics NAME:first count only the first event of each unit; `>unit` counts units seen for the first
-- time, `>mixed` requests that more than one version served.
-- Made anew from the raw rows, a whole hour at a time: the newest revision of a row holds, and one
-- without requests was taken back. Read by comparisons: version, then metric, then hours. Kept for ever.
CREATE TABLE IF NOT EXISTS {database}.quality_hourly
(
    project              LowCardinality(String),
    environment          LowCardinality(String),
    service              LowCardinality(String),
    composite_version    LowCardinality(String),
    metric               LowCardinality(String),
    rollout              LowCardinality(String),
    arm                  LowCardinality(String),
    hour                 DateTime('UTC') CODEC(Delta, ZSTD(1)),
    phase                LowCardinality(String),
    scorer               LowCardinality(String),
    revision             UInt64 CODEC(Delta, ZSTD(1)),
    requests             UInt64 CODEC(T64, ZSTD(1)),
    total                Float64 CODEC(ZSTD(1)),
    squares              Float64 CODEC(ZSTD(1)),
    base                 Float64 CODEC(ZSTD(1)),
    base_squares         Float64 CODEC(ZSTD(1)),
    cross                Float64 CODEC(ZSTD(1)),
    buckets              Array(UInt8) CODEC(LZ4),
    bucket_requests      Array(UInt32) CODEC(LZ4),
    bucket_total         Array(Float64) CODEC(LZ4),
    bucket_squares       Array(Float64) CODEC(LZ4),
    bucket_base          Array(Float64) CODEC(ZSTD(1)),
    bucket_base_squares  Array(Float64) CODEC(ZSTD(1)),
    bucket_cross         Array(Float64) CODEC(ZSTD(1)),
    INDEX hours hour TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(hour)
ORDER BY (project, environment, service, composite_version, metric, rollout, arm, hour, phase, scorer)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
