-- What the store has of these requests.
SELECT project, hex(request_id) AS request, hex(producer_id) AS producer, revision, hex(record_digest) AS digest
FROM {database}.requests
WHERE (project, request_id) IN (SELECT project, toFixedString(request_id, 16) FROM stage_records WHERE flaw = '')
SETTINGS max_threads = 1
