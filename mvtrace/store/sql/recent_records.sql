-- The newest finished records of a service and environment, not older than one request.
-- The key is read backwards and ends with the limit; a record of two revisions has two rows.
SELECT
    request_id,
    revision,
    record
FROM requests
WHERE project = {project:String}
    AND request_id >= unhex({request_id:String})
    AND service = {service:String}
    AND environment = {environment:String}
    AND state = 'finished'
ORDER BY request_id DESC
LIMIT {limit:UInt32}
