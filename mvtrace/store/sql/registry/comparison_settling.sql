-- Versions whose parts are all among those of one of two versions and not of the other: what the one may have
-- been while a process warmed up. A version that both extend is neither; what did not serve where, and within
-- the time in which, the one did is another system. Those that served most are the first.
WITH
    served AS
    (
        SELECT composite_version AS version, environment, service, sum(requests) AS answered
        FROM quality_hourly
        WHERE project = {project:String}
            AND metric = 'request'
            AND requests > 0
            AND hour >= toDateTime({since_hour:UInt32} * 3600, 'UTC')
            AND hour <= toDateTime({until_hour:UInt32} * 3600, 'UTC')
            AND ({environment:String} = '' OR environment = {environment:String})
            AND ({service:String} = '' OR service = {service:String})
            AND ({rollout:String} = '' OR rollout = {rollout:String})
        GROUP BY version, environment, service
    ),
    (
        SELECT arrayDistinct(arrayFlatten(groupArray(arrayMap((k, n, d) -> concat(k, '\x1f', n, '\x1f', d), component_kinds, component_names, component_digests))))
        FROM composites WHERE project = {project:String} AND version = {baseline:String}
    ) AS of_baseline,
    (
        SELECT arrayDistinct(arrayFlatten(groupArray(arrayMap((k, n, d) -> concat(k, '\x1f', n, '\x1f', d), component_kinds, component_names, component_digests))))
        FROM composites WHERE project = {project:String} AND version = {candidate:String}
    ) AS of_candidate
SELECT version, settled
FROM
(
    SELECT DISTINCT version, if(hasAll(of_baseline, parts), {baseline:String}, {candidate:String}) AS settled
    FROM
    (
        SELECT version, arrayMap((k, n, d) -> concat(k, '\x1f', n, '\x1f', d), component_kinds, component_names, component_digests) AS parts
        FROM composites
        WHERE project = {project:String}
            AND version IN (SELECT version FROM served)
            AND version NOT IN ({baseline:String}, {candidate:String})
            AND length(component_digests) BETWEEN 1 AND greatest(length(of_baseline), length(of_candidate))
    )
    WHERE hasAll(of_baseline, parts) != hasAll(of_candidate, parts)
) AS near
INNER JOIN served USING (version)
WHERE (settled, environment, service) IN (SELECT version, environment, service FROM served WHERE version IN ({baseline:String}, {candidate:String}))
GROUP BY version, settled
ORDER BY sum(answered) DESC, version
LIMIT 256
