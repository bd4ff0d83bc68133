-- How many of the segment's events the table has.
SELECT uniqExact((project, event_id)) AS found
FROM {database}.events
WHERE (project, request_id) IN (SELECT project, request_id FROM stage_ids)
    AND event_id IN (SELECT event_id FROM stage_logs WHERE startsWith(event_name, 'gen_ai.'))
SETTINGS max_threads = 1
