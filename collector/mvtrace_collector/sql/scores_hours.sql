-- The hours of the requests that the segment's scores are about, of those that there are: whoever may score
-- can name any hour, and a request that comes later brings its own.
SELECT DISTINCT project, toUInt32(intDiv(reinterpretAsUInt64(reverse(substring(request_id, 1, 6))), 3600000)) AS hour
FROM {database}.requests
WHERE (project, request_id) IN (SELECT project, toFixedString(request_id, 16) FROM stage_scores WHERE flaw = '')
