-- Which versions answered requests in which environment, and when last: of some versions, or all.
SELECT
    assumeNotNull(composite_version) AS version,
    toString(environment) AS place,
    toUnixTimestamp64Milli(toDateTime64(max(started_at), 3, 'UTC')) AS last_ms
FROM requests
WHERE project = {project:String}
    AND isNotNull(composite_version)
    AND composite_version != ''
    AND (empty({versions:Array(String)}) OR composite_version IN {versions:Array(String)})
GROUP BY version, place
