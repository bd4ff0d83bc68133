-- The newest finished records of a service and environment, from one request on.
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
ORDER BY
    project DESC,
    request_id DESC
LIMIT {limit:UInt32}
