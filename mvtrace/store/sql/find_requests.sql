-- Requests of a time range, newest first; an empty text stands for any value.
-- The id is the time: the range is one of the key, read backwards until the limit.
SELECT
    request_id_text AS request,
    toUnixTimestamp64Nano(started_at) AS started,
    state,
    outcome,
    status_code,
    error_type,
    duration_ns,
    service,
    environment,
    protocol,
    method,
    route,
    composite_version,
    composite_name,
    arm,
    conversation_id,
    models_served,
    calls,
    input_tokens,
    output_tokens,
    drift
FROM requests
WHERE project = {project:String}
    AND request_id >= unhex({first:String})
    AND request_id <= unhex({last:String})
    AND ({service:String} = '' OR service = {service:String})
    AND ({environment:String} = '' OR environment = {environment:String})
    AND ({route:String} = '' OR route = {route:String})
    AND ({version:String} = '' OR composite_version = {version:String})
    AND ({arm:String} = '' OR arm = {arm:String})
    AND ({conversation:String} = '' OR conversation_id = {conversation:String})
    AND ({errors:UInt8} = 0 OR outcome = 'error' OR status_code >= 500)
ORDER BY
    request_id DESC,
    revision DESC
LIMIT 1 BY request_id
LIMIT {limit:UInt32}
