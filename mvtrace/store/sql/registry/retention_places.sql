-- Where artifacts were registered to lie: of some artifacts and whatever overlaps a path, or of all.
-- Paths are compared without their scheme, as they are, decoded, and without an account (of Azure): it
-- is more than overlaps, never less; who asks looks closer.
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
        JSONExtractString(body, 'uri') AS said,
        arrayMap(
            one -> trimRight(replaceRegexpOne(one, '^(file://localhost|[a-zA-Z0-9+.-]+:)?/*', ''), '/'),
            [said, decodeURLComponent(said), replaceRegexpOne(said, '^([a-zA-Z0-9+.-]+://[^/@]+)@[^/]*', '\\1')]) AS paths
    FROM registry_entries
    WHERE project = {project:String}
        AND kind = 'artifact'
        AND
        (
            ({path:String} = '' AND empty({artifacts:Array(String)}))
            OR JSONExtractString(body, 'artifact') IN {artifacts:Array(String)}
            OR ({path:String} != '' AND arrayExists(
                path -> path = {path:String}
                    OR startsWith(path, concat({path:String}, '/'))
                    OR startsWith({path:String}, concat(path, '/')),
                paths))
        )
)
GROUP BY artifact, uri, size
ORDER BY artifact, uri, size
