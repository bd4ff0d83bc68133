-- Where artifacts were registered to lie: of some artifacts and whatever overlaps a path, or of all.
-- Paths are compared without their scheme; who asks looks closer.
SELECT
    JSONExtractString(body, 'artifact') AS artifact,
    JSONExtractString(body, 'uri') AS uri,
    JSONExtractUInt(body, 'bytes') AS size,
    toUnixTimestamp64Milli(max(received_at)) AS received_ms
FROM
(
    SELECT
        body,
        received_at,
        trimRight(replaceRegexpOne(decodeURLComponent(JSONExtractString(body, 'uri')), '^(file://localhost|[a-zA-Z0-9+.-]+:)?/*', ''), '/') AS path
    FROM registry_entries
    WHERE project = {project:String}
        AND kind = 'artifact'
        AND
        (
            ({path:String} = '' AND empty({artifacts:Array(String)}))
            OR JSONExtractString(body, 'artifact') IN {artifacts:Array(String)}
            OR ({path:String} != '' AND
            (
                path = {path:String}
                OR startsWith(path, concat({path:String}, '/'))
                OR startsWith({path:String}, concat(path, '/'))
            ))
        )
)
GROUP BY artifact, uri, size
ORDER BY artifact, uri, size
