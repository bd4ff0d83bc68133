-- The record of one request, a row a revision, and those of the requests that name it as their parent
-- and have ids next to it. The ids name the partition; no FINAL.
SELECT
    request_id,
    record,
    record_digest,
    revision,
    toUnixTimestamp64Milli(received_at) AS received_ms
FROM requests
WHERE project = {project:String}
    AND request_id >= unhex({first:String})
    AND request_id <= unhex({last:String})
    AND (request_id = unhex({request_id:String}) OR parent_request_id = unhex({request_id:String}))
LIMIT {limit:UInt32}
