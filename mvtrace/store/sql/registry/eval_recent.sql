-- Versions that served lately: how many requests each answered since a moment, when it was deployed
-- last, and where it serves now. One deployed long ago is among them while it serves.
SELECT
    version,
    toUInt64(sum(requests)) AS requests,
    toString(max(deployed)) AS deployed,
    arraySort(arrayDistinct(arrayFlatten(groupArray(serves)))) AS serves
FROM
(
    SELECT assumeNotNull(composite_version) AS version, uniqExact(request_id) AS requests, toInt64(0) AS deployed, CAST([], 'Array(String)') AS serves
    FROM requests
    WHERE project = {project:String} AND composite_version != '' AND started_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    GROUP BY version
    UNION ALL
    SELECT composite AS version, toUInt64(0) AS requests, toUnixTimestamp64Nano(max(at)) AS deployed, CAST([], 'Array(String)') AS serves
    FROM deployments
    WHERE project = {project:String} AND action != 'revert' AND at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    GROUP BY version
    UNION ALL
    SELECT argMax(composite, (at, seq, event_id)) AS version, toUInt64(0) AS requests, toUnixTimestamp64Nano(max(at)) AS deployed, [concat(toString(service), ' in ', toString(environment))] AS serves
    FROM deployments
    WHERE project = {project:String} AND action IN ('deploy', 'promote', 'rollback')
    GROUP BY service, environment
)
GROUP BY version
ORDER BY
    empty(serves),
    requests DESC,
    deployed DESC,
    version
LIMIT {limit:UInt32}
