-- Where the evaluations are that name a trace and no request: each id that scores of theirs were ever put
-- under, so that they can be moved. They are at the first request of the trace, by id, that has a record;
-- before there is one, at the first id here. Looked up by every load that has records, hence apart.
CREATE TABLE IF NOT EXISTS {database}.evaluated_traces
(
    project              LowCardinality(String),
    trace_id             FixedString(16),
    request_id           FixedString(16),
    received_at          DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(received_at)
ORDER BY (project, trace_id, request_id)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
