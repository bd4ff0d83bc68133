-- The first line about each of some requests, a row a revision.
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
    AND request_id IN (SELECT toFixedString(unhex(arrayJoin({request_ids:Array(String)})), 16))
