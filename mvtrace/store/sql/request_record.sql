-- The record of one request, a row a revision. The id names the partition; no FINAL.
SELECT
    record,
    record_digest,
    revision,
    toUnixTimestamp64Milli(received_at) AS received_ms
FROM requests
WHERE project = {project:String}
    AND request_id = unhex({request_id:String})
