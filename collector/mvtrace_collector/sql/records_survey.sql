-- What tells the segment's records apart, in the order in which they came.
SELECT row, project, hex(request_id) AS request, hex(producer_id) AS producer, revision, hex(digest) AS digest, month, flaw
FROM stage_records
ORDER BY seq, row
SETTINGS max_threads = 1
