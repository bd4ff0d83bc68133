-- The newest requests that some versions answered.
SELECT
    request_id_text AS request_id,
    formatDateTime(started_at, '%Y-%m-%dT%H:%i:%SZ') AS time,
    service,
    environment,
    route,
    composite_version
FROM requests
WHERE project = {project:String} AND composite_version IN {versions:Array(String)}
ORDER BY request_id DESC, revision DESC
LIMIT 1 BY request_id
LIMIT {limit:UInt32}
