-- One row per composite version: its manifest (sorted components and edges) by its digest.
-- A row enters only if sha256('mvtrace.composite/1\n' + manifest) is its version. The name and the
-- labels are no part of the version; the newest ones are shown.
CREATE TABLE IF NOT EXISTS {database}.composites
(
    project              LowCardinality(String),
    version              String,
    name                 LowCardinality(String),
    manifest             String CODEC(ZSTD(3)),
    labels               Map(String, String),
    component_kinds      Array(LowCardinality(String)),
    component_names      Array(LowCardinality(String)),
    component_digests    Array(String),
    received_at          DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(received_at)
ORDER BY (project, version)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
