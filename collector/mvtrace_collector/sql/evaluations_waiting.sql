-- Whether a trace of this segment's records was evaluated before.
SELECT count() AS waiting
FROM {database}.evaluated_traces
WHERE (project, trace_id) IN
(
    SELECT project, toFixedString(unhex(ifNull(parsed.trace_id, '')), 16)
    FROM stage_records
    WHERE flaw = '' AND match(ifNull(parsed.trace_id, ''), '^[0-9a-f]{32}$')
)
SETTINGS max_threads = 1
