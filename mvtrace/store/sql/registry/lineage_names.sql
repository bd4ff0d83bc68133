-- What people call some things; of several names the newest.
SELECT kind, digest, argMax(label, received_at) AS name
FROM
(
    SELECT 'composite' AS kind, version AS digest, toString(name) AS label, received_at
    FROM composites
    WHERE project = {project:String} AND version IN {composites:Array(String)}
    UNION ALL
    SELECT 'component' AS kind, substring(components.digest, 8) AS digest, toString(components.kind) AS label, received_at
    FROM components
    WHERE project = {project:String} AND components.digest IN {components:Array(String)}
    UNION ALL
    SELECT kind, if(kind = 'dataset', replaceOne(JSONExtractString(body, 'root'), 'sha256:', ''), substring(registry_entries.digest, 8)) AS digest, name AS label, received_at
    FROM registry_entries
    WHERE project = {project:String} AND name != ''
        AND (registry_entries.digest IN {entries:Array(String)}
            OR (kind = 'dataset' AND replaceOne(JSONExtractString(body, 'root'), 'sha256:', '') IN {datasets:Array(String)}))
)
GROUP BY kind, digest
