-- The events of a request.
SELECT
    toString(hex(span_id)) AS span,
    toUnixTimestamp64Nano(time) AS at,
    toString(name) AS title,
    toJSONString(attributes) AS facts
FROM events
WHERE project = {project:String}
    AND request_id = unhex({request_id:String})
LIMIT 1000
