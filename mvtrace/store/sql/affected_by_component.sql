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
    AND (
        (
            composite_version IN (
                SELECT version
                FROM composites
                WHERE project = {project:String}
                    AND arrayExists(
                        (k, n, d) -> ({kind:String} = '' OR k = {kind:String})
                            AND ({name:String} = '' OR n = {name:String})
                            AND ({digest:String} = '' OR d = {digest:String}),
                        component_kinds, component_names, component_digests
                    )
            )
            AND NOT (
                drift > 0 AND {digest:String} != '' AND arrayExists(
                    d -> has({slots:Array(String)}, concat(d.1, '/', d.2)) AND d.3 NOT IN ('changed', 'volatile'),
                    JSONExtract(record, 'drift', 'Array(Tuple(kind String, name String, what String))')
                )
            )
        )
        OR (
            drift > 0 AND {digest:String} != '' AND arrayExists(
                d -> d.3 = {digest:String}
                    AND ({kind:String} = '' OR d.1 = {kind:String})
                    AND ({name:String} = '' OR d.2 = {name:String}),
                JSONExtract(record, 'observed', 'Array(Tuple(kind String, name String, digest String))')
            )
        )
        OR ({digest:String} != '' AND {kind:String} IN ('', 'index') AND {name:String} = '' AND has(index_snapshots, {digest:String}))
    )
ORDER BY
    request_id,
    revision DESC
LIMIT 1 BY request_id
