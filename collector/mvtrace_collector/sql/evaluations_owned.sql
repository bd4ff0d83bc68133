INSERT INTO {database}.evaluated_traces (project, trace_id, request_id, owner, received_at)
SETTINGS {insert_settings}
SELECT project, trace_id, request_id, owner, now64(3, 'UTC')
FROM stage_owners
