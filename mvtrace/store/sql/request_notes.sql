-- What else is known about a request: its events, the requests it called, what was turned away.
-- Called requests started while it ran, so their ids lie in a narrow range of the key.
SELECT
    'event' AS what,
    toString(hex(span_id)) AS id,
    toUnixTimestamp64Nano(time) AS at,
    [toString(name), toJSONString(attributes)] AS texts
FROM events
WHERE project = {project:String}
    AND request_id = unhex({request_id:String})
LIMIT 1000
UNION ALL
SELECT
    'child' AS what,
    toString(hex(request_id)) AS id,
    toUnixTimestamp64Nano(started_at) AS at,
    [toString(service), toString(environment), ifNull(toString(method), ''), ifNull(toString(route), '')] AS texts
FROM requests
WHERE project = {project:String}
    AND request_id >= unhex({first_child:String})
    AND request_id <= unhex({last_child:String})
    AND parent_request_id = unhex({request_id:String})
LIMIT 200
UNION ALL
SELECT
    'quarantine' AS what,
    subject AS id,
    toUnixTimestamp64Milli(received_at) * 1000000 AS at,
    [toString(reason), detail] AS texts
FROM quarantine
WHERE project = {project:String}
    AND subject IN {subjects:Array(String)}
LIMIT 100
