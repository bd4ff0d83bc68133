-- The rows to take away, and the hours of the requests on both sides.
SELECT DISTINCT
    project, hex(request_id) AS request, hex(event_id) AS event,
    toUInt32(intDiv(reinterpretAsUInt64(reverse(substring(request_id, 1, 6))), 3600000)) AS hour,
    toUInt32(intDiv(reinterpretAsUInt64(reverse(substring(home, 1, 6))), 3600000)) AS home_hour
FROM stage_moved
