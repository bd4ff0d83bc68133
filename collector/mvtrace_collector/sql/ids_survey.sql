-- The different traces of one segment with what their spans claim, for Python to place.
SELECT
    project,
    hex(trace_id) AS trace,
    claimed,
    min(least(greatest(start_ns, 1577836800000000000), received_ms * 1000000 + 86400000000000)) AS earliest_ns,
    min(received_ms) AS first_ms,
    max(received_ms) AS last_ms,
    min(is_real) AS is_trace
FROM
(
    SELECT project, trace_id, claimed, start_ns, received_ms, true AS is_real
    FROM stage_spans
    WHERE is_sound
    UNION ALL
    SELECT project, trace_id, claimed, time_ns, received_ms, trace_id = given_trace_id
    FROM stage_logs
    WHERE startsWith(event_name, 'gen_ai.')
)
GROUP BY project, trace_id, claimed
SETTINGS max_threads = 1
