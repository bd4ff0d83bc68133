-- One row per end of each edge "was made from", so that one look-up finds all edges of a thing whatever
-- end of them it is: 'up' rows have the child as `node` and the parent as `other`, 'down' rows the other
-- way round. Ends are refs, such as dataset:…; `source` is the digest of the derivation that says so, and
-- empty where digests prove it: a version and its components, a component and its parts and its artifact.
-- The edges of one project make no cycle: what would close one is not stored. Kept for ever.
CREATE TABLE IF NOT EXISTS {database}.lineage_edges
(
    project              LowCardinality(String),
    direction            Enum8('up' = 1, 'down' = 2),
    node                 String CODEC(LZ4),
    other                String CODEC(LZ4),
    role                 LowCardinality(String),
    source               String CODEC(LZ4),
    received_at          DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (project, direction, node, other, role, source)
SETTINGS index_granularity = 256, min_compress_block_size = 16384, max_compress_block_size = 65536,
    min_bytes_for_wide_part = 1000000000000, min_rows_for_wide_part = 1000000000000, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
