-- The newest requests by their id or another id that they carry; an empty text stands for none.
SELECT
    lower(hex(request_id)) AS id,
    argMax(service, revision) AS at_service,
    argMax(environment, revision) AS at_environment,
    argMax(composite_version, revision) AS version,
    toUnixTimestamp64Milli(max(started_at)) AS started_ms
FROM requests
WHERE project = {project:String}
    AND
    (
        lower(hex(request_id)) = {request:String}
        OR request_id IN
        (
            SELECT request_id
            FROM request_aliases
            WHERE project = {project:String}
                AND {alias:String} != ''
                AND alias_hash = sipHash64({alias:String})
                AND alias = {alias:String}
                AND ({kind:String} = '' OR kind = {kind:String})
        )
    )
GROUP BY request_id
ORDER BY request_id DESC
LIMIT 21
