-- Evaluations that name a trace and no request, and came when no record of the trace was stored: the id
-- they were put under, and `owner`, the first request of the trace whose record came (zero bytes: none yet).
-- Its scores are the owner's too from then on. Looked up by every load that has records, hence apart.
CREATE TABLE IF NOT EXISTS {database}.evaluated_traces
(
    project              LowCardinality(String),
    trace_id             FixedString(16),
    request_id           FixedString(16),
    owner                FixedString(16),
    received_at          DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(received_at)
ORDER BY (project, trace_id, request_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
