-- Where the evaluations of these traces are from now on; before any of their scores is stored there.
INSERT INTO {database}.evaluated_traces (project, trace_id, request_id, received_at)
SETTINGS {insert_settings}
SELECT project, trace_id, home, now64(3, 'UTC')
FROM stage_homes
WHERE (project, trace_id, home) NOT IN
(
    SELECT project, trace_id, request_id
    FROM {database}.evaluated_traces
    WHERE (project, trace_id) IN (SELECT project, trace_id FROM stage_homes)
)
