-- What was erased, by whom, when and why. A row with the zero request id stands for the subject: what
-- was captured about it before is never let in again. The others say of one request that it was
-- erased; `explain` shows that. Kept for ever; a subject is a keyed digest, never a name.
CREATE TABLE IF NOT EXISTS {database}.erasures
(
    project              LowCardinality(String),
    request_id           FixedString(16),
    subject              String,
    erased_at            DateTime64(3, 'UTC'),
    erased_by            String,
    reason               String,
    request_id_text      String ALIAS concat(
        lower(hex(substring(request_id, 1, 4))), '-', lower(hex(substring(request_id, 5, 2))), '-',
        lower(hex(substring(request_id, 7, 2))), '-', lower(hex(substring(request_id, 9, 2))), '-',
        lower(hex(substring(request_id, 11, 6))))
)
ENGINE = ReplacingMergeTree
ORDER BY (project, request_id, subject, erased_at)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
