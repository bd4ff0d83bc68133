-- One row per thing that the registry knows beside versions: datasets, transformations, what was made
-- from what, suites, scorers, results, certificates, where artifacts lie. A row enters only if
-- sha256('mvtrace.entry/1\n' + body) is its digest; the kind and the name are the body's. The actor is
-- the id of the key it first came under. Kept for ever, not partitioned: there are few.
CREATE TABLE IF NOT EXISTS {database}.registry_entries
(
    project              LowCardinality(String),
    kind                 LowCardinality(String),
    digest               String,
    name                 String,
    body                 String CODEC(ZSTD(3)),
    actor                LowCardinality(String),
    actor_label          LowCardinality(String),
    received_at          DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (project, kind, digest)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
