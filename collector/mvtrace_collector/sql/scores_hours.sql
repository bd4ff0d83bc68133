-- The hours of the requests that the segment's scores are about.
SELECT DISTINCT project, toUInt32(intDiv(reinterpretAsUInt64(reverse(substring(request_id, 1, 6))), 3600000)) AS hour
FROM stage_scores
WHERE flaw = ''
