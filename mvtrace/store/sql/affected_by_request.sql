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
    AND ifNull(composite_version, '') = {version:String}
    AND if(
        drift = 0,
        empty({notes:Array(String)}),
        arraySort(
            arrayMap(
                d -> concat(d.1, '/', d.2, ' ', d.3, ' ', d.4),
                arrayFilter(
                    d -> d.3 NOT IN ('changed', 'volatile'),
                    JSONExtract(record, 'drift', 'Array(Tuple(kind String, name String, what String, observed String))')
                )
            )
        ) = {notes:Array(String)}
    )
ORDER BY
    request_id,
    revision DESC
LIMIT 1 BY request_id
