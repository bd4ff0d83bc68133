-- The requests that one called later than right after its start; they started while it ran, so their
-- ids are a range of the key.
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
    AND request_id >= unhex({first_child:String})
    AND request_id <= unhex({last_child:String})
    AND parent_request_id = unhex({request_id:String})
LIMIT 200
