-- Versions by when they were first known: registered, made from another, deployed or met by a request.
-- The row of a registered version is written anew as its labels change, hence the other three.
SELECT
    version,
    min(known_ms) AS first_ms
FROM
(
    SELECT version, toUnixTimestamp64Milli(received_at) AS known_ms
    FROM composites
    WHERE project = {project:String}
    UNION ALL
    SELECT composite AS version, toUnixTimestamp64Milli(at) AS known_ms
    FROM deployments
    WHERE project = {project:String}
    UNION ALL
    SELECT substring(node, 11) AS version, toUnixTimestamp64Milli(min(received_at)) AS known_ms
    FROM lineage_edges
    WHERE project = {project:String} AND direction = 'up' AND startsWith(node, 'composite:')
    GROUP BY node
    UNION ALL
    SELECT assumeNotNull(composite_version) AS version, toUnixTimestamp64Milli(min(started_at)) AS known_ms
    FROM requests
    WHERE project = {project:String} AND composite_version IS NOT NULL
    GROUP BY composite_version
)
GROUP BY version
ORDER BY first_ms DESC, version
LIMIT {limit:UInt32}
