-- Pieces of registered content (prompt templates, tool definitions, file listings) by digest.
-- A row enters only if sha256('mvtrace.content/1\n' + content) is its digest.
CREATE TABLE IF NOT EXISTS {database}.contents
(
    project              LowCardinality(String),
    digest               String,
    content              String CODEC(ZSTD(3)),
    received_at          DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (project, digest)
SETTINGS index_granularity = 256, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
