-- One row per decision about what serves: append-only, in the order of (at, seq, event_id) what served
-- at any instant is folded from it. The actor is the id of the key it came under; what its sender
-- calls himself is a label in the body. The event's id is the digest of what was decided, when and by
-- whom. Kept for ever, not partitioned: there are few.
CREATE TABLE IF NOT EXISTS {database}.deployments
(
    project              LowCardinality(String),
    service              LowCardinality(String),
    environment          LowCardinality(String),
    at                   DateTime64(9, 'UTC'),
    seq                  UInt64,
    event_id             FixedString(16),
    action               LowCardinality(String),
    composite            String,
    share                Float64,
    actor                String,
    actor_label          String,
    claimed_actor        String,
    reason               String,
    body                 String,
    received_at          DateTime64(3, 'UTC'),
    event_id_hex         String ALIAS lower(hex(event_id))
)
ENGINE = ReplacingMergeTree
ORDER BY (project, environment, service, event_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
