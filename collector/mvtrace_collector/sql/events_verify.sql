WITH placed AS
(
    SELECT DISTINCT project, request_id, event_id
    FROM stage_logs
    INNER JOIN stage_ids USING (project, trace_id, claimed)
    WHERE startsWith(event_name, 'gen_ai.')
)
SELECT 'events' AS name, count() AS expected,
    (SELECT uniqExact((project, request_id, event_id)) FROM {database}.events
        WHERE (project, request_id, event_id) IN (SELECT project, request_id, event_id FROM placed)) AS found
FROM placed
