-- Who asked for what, and what became of it: written before the answer is given, never changed and
-- never deleted; read by admins. The id is the time. A row of status 0 says that something that
-- changes data was begun and not seen to end; the row of revision 2 replaces it. The project is `*`
-- where an access was not about a single one. What was asked for is a request's id, or a keyed digest.
CREATE TABLE IF NOT EXISTS {database}.access_log
(
    project              LowCardinality(String),
    access_id            FixedString(16),
    revision             UInt8,
    time                 DateTime64(6, 'UTC'),
    actor                String,
    label                String,
    action               LowCardinality(String),
    asked                String CODEC(ZSTD(1)),
    request_id           FixedString(16),
    statement            String CODEC(ZSTD(1)),
    status               UInt16,
    outcome              LowCardinality(String),
    rows                 Nullable(UInt64),
    bytes                UInt64,
    duration_us          UInt64,
    client               String,
    request_id_text      String ALIAS if(request_id = toFixedString('', 16), '', concat(
        lower(hex(substring(request_id, 1, 4))), '-', lower(hex(substring(request_id, 5, 2))), '-',
        lower(hex(substring(request_id, 7, 2))), '-', lower(hex(substring(request_id, 9, 2))), '-',
        lower(hex(substring(request_id, 11, 6))))),
    access_id_text       String ALIAS concat(
        lower(hex(substring(access_id, 1, 4))), '-', lower(hex(substring(access_id, 5, 2))), '-',
        lower(hex(substring(access_id, 7, 2))), '-', lower(hex(substring(access_id, 9, 2))), '-',
        lower(hex(substring(access_id, 11, 6))))
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(time)
ORDER BY (project, access_id)
SETTINGS index_granularity = 1024, fsync_after_insert = 1, fsync_part_directory = 1
