-- Where artifacts were registered to lie.
SELECT DISTINCT
    JSONExtractString(body, 'artifact') AS artifact,
    JSONExtractString(body, 'uri') AS uri,
    JSONExtractUInt(body, 'bytes') AS size
FROM registry_entries
WHERE project = {project:String}
    AND kind = 'artifact'
    AND JSONExtractString(body, 'artifact') IN {artifacts:Array(String)}
ORDER BY artifact, uri
LIMIT 10000
