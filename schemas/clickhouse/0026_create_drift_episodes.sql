-- One row per episode of drift and change of it: a slot was met with one value that it should not
-- have had, from the first request to the last, until it was met right again (`ended_by`) or with
-- another value. The highest revision of an id holds; the id is the digest of slot, values and first
-- request, so one that is found to begin earlier is another, and the former is `withdrawn` in favour
-- of `superseded_by`. Read by `mvtrace drift` and `mvtrace affected`, and by whoever watches for
-- new rows. Kept for ever.
CREATE TABLE IF NOT EXISTS {database}.drift_episodes
(
    project              LowCardinality(String),
    episode_id           FixedString(16),
    revision             UInt64,
    state                LowCardinality(String),
    basis                LowCardinality(String),
    service              LowCardinality(String),
    environment          LowCardinality(String),
    kind                 LowCardinality(String),
    name                 String,
    what                 LowCardinality(String),
    expected             String,
    observed             String,
    first_request        FixedString(16),
    last_request         FixedString(16),
    started_at           DateTime64(3, 'UTC'),
    last_at              DateTime64(3, 'UTC'),
    requests             UInt64,
    ended_by             Nullable(FixedString(16)),
    superseded_by        Nullable(FixedString(16)),
    changed_at           DateTime64(3, 'UTC'),
    episode_id_hex       String ALIAS lower(hex(episode_id)),
    first_request_text   String ALIAS concat(
        lower(hex(substring(first_request, 1, 4))), '-', lower(hex(substring(first_request, 5, 2))), '-',
        lower(hex(substring(first_request, 7, 2))), '-', lower(hex(substring(first_request, 9, 2))), '-',
        lower(hex(substring(first_request, 11, 6)))),
    last_request_text    String ALIAS concat(
        lower(hex(substring(last_request, 1, 4))), '-', lower(hex(substring(last_request, 5, 2))), '-',
        lower(hex(substring(last_request, 7, 2))), '-', lower(hex(substring(last_request, 9, 2))), '-',
        lower(hex(substring(last_request, 11, 6))))
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (project, episode_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
