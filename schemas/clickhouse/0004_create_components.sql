-- One row per component ever pinned, by the digest of its body; kept for ever.
-- A row enters only if sha256('mvtrace.component/1\n' + body) is its digest.
CREATE TABLE IF NOT EXISTS {database}.components
(
    project              LowCardinality(String),
    digest               String,
    kind                 LowCardinality(String),
    body                 String CODEC(ZSTD(3)),
    received_at          DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (project, digest)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
