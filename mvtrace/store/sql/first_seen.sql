-- When requests after a given one first ran with a state: one row per state, for the few that
-- have one of the digests or names looked for.
SELECT
    composite_version,
    index_snapshots,
    models_served,
    min(toUnixTimestamp64Nano(started_at)) AS first_seen
FROM requests
WHERE project = {project:String}
    AND request_id > unhex({request_id:String})
    AND service = {service:String}
    AND environment = {environment:String}
    AND
    (
        composite_version IN {versions:Array(String)}
        OR hasAny(index_snapshots, {values:Array(String)})
        OR hasAny(models_served, {values:Array(String)})
    )
GROUP BY
    composite_version,
    index_snapshots,
    models_served
ORDER BY first_seen
LIMIT 10000
