SELECT
    request_id,
    request_id_text AS request,
    started_at,
    service,
    environment,
    route,
    composite_version
FROM requests
WHERE project = {project:String}
    AND request_id >= unhex({first:String})
    AND request_id <= unhex({last:String})
    AND service = {service:String}
    AND environment = {environment:String}
    AND if(
        {what:String} = 'changed',
        arrayExists(
            o -> o.1 = {kind:String} AND o.2 = {name:String} AND o.3 = {observed:String},
            JSONExtract(record, 'observed', 'Array(Tuple(kind String, name String, digest String))')
        ),
        drift > 0 AND arrayExists(
            d -> d.1 = {kind:String} AND d.2 = {name:String} AND d.3 = {what:String} AND d.4 = {expected:String}
                AND ({observed:String} = '*' OR d.5 = {observed:String}),
            JSONExtract(record, 'drift', 'Array(Tuple(kind String, name String, what String, expected String, observed String))')
        )
    )
ORDER BY
    request_id,
    revision DESC
LIMIT 1 BY request_id
