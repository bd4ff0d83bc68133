-- The spans of one request. A span stored twice has two rows until they are merged.
SELECT
    span_id,
    parent_span_id,
    trace_id,
    toUnixTimestamp64Nano(start_time),
    duration_ns,
    shown,
    attributes_double,
    received_at
FROM spans
WHERE project = {project:String}
    AND request_id = unhex({request_id:String})
LIMIT {limit:UInt32}
