-- How many of the segment's requests the table has; a later revision may have replaced a row.
SELECT uniqExact((project, request_id)) AS found
FROM {database}.requests
WHERE (project, request_id) IN (SELECT project, toFixedString(request_id, 16) FROM stage_records WHERE row IN (SELECT row FROM stage_verdicts WHERE problem = ''))
SETTINGS max_threads = 1
