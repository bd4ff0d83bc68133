SELECT uniqExact((project, event_id)) AS found
FROM {database}.scores
WHERE (project, request_id) IN (SELECT project, toFixedString(request_id, 16) FROM stage_scores WHERE flaw = '')
    AND event_id IN (SELECT event_id FROM stage_scores WHERE flaw = '')
SETTINGS max_threads = 1
