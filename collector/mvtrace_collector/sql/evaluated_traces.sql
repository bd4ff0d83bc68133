-- Evaluations of this segment that name no request, and are put under one whose record is not stored.
INSERT INTO {database}.evaluated_traces (project, trace_id, request_id, owner, received_at)
SETTINGS {insert_settings}
SELECT DISTINCT project, toFixedString(trace_id, 16), request_id, toFixedString('', 16), fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC')
FROM
(
    SELECT project, trace_id, claimed, received_ms
    FROM stage_logs
    WHERE event_name = 'gen_ai.evaluation.result' AND trace_id = given_trace_id AND length(trace_id) = 16
) AS evaluated
INNER JOIN stage_ids USING (project, trace_id, claimed)
WHERE replaceAll(claimed, '-', '') != lower(hex(request_id)) AND (project, request_id) NOT IN
    (SELECT project, request_id FROM {database}.requests WHERE (project, request_id) IN (SELECT project, request_id FROM stage_ids))
