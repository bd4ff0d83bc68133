-- The first line about each of some requests, and about each that some of them called: a row a revision.
-- What they called has ids in a range of the key.
SELECT
    request_id,
    revision,
    toUnixTimestamp64Nano(started_at) AS started,
    service,
    environment,
    method,
    route,
    status_code,
    outcome,
    composite_version,
    arm,
    parent_request_id
FROM requests
WHERE project = {project:String}
    AND request_id IN (SELECT toFixedString(unhex(arrayJoin({callers:Array(String)})), 16))
LIMIT {limit:UInt32}
UNION ALL
SELECT
    request_id,
    revision,
    toUnixTimestamp64Nano(started_at) AS started,
    service,
    environment,
    method,
    route,
    status_code,
    outcome,
    composite_version,
    arm,
    parent_request_id
FROM requests
WHERE project = {project:String}
    AND request_id >= unhex({first:String})
    AND request_id <= unhex({last:String})
    AND parent_request_id IN (SELECT toFixedString(unhex(arrayJoin({calling:Array(String)})), 16))
LIMIT {limit:UInt32}
