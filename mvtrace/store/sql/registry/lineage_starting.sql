-- Everything whose digest starts so, of one kind or (an empty text) of any: registered, or an end of an
-- edge. Of each kind one more than is shown. An alias hides a column of its name, hence table.column.
SELECT kind, digest, max(name) AS name
FROM
(
    SELECT 'composite' AS kind, version AS digest, toString(name) AS name
    FROM composites
    WHERE project = {project:String} AND startsWith(version, {prefix:String})
    UNION ALL
    SELECT 'component' AS kind, substring(components.digest, 8) AS digest, toString(components.kind) AS name
    FROM components
    WHERE project = {project:String} AND startsWith(components.digest, concat('sha256:', {prefix:String}))
    UNION ALL
    SELECT kind, substring(digest, 8) AS digest, name
    FROM registry_entries
    WHERE project = {project:String}
        AND kind IN ('experiment', 'scorer', 'suite', 'transformation')
        AND startsWith(registry_entries.digest, concat('sha256:', {prefix:String}))
    UNION ALL
    SELECT 'dataset' AS kind, replaceOne(JSONExtractString(body, 'root'), 'sha256:', '') AS digest, name
    FROM registry_entries
    WHERE project = {project:String}
        AND registry_entries.kind = 'dataset'
        AND startsWith(replaceOne(JSONExtractString(body, 'root'), 'sha256:', ''), {prefix:String})
    UNION ALL
    SELECT splitByChar(':', node)[1] AS kind, splitByChar(':', node)[2] AS digest, '' AS name
    FROM lineage_edges
    WHERE project = {project:String}
        AND direction IN ('up', 'down')
        AND (startsWith(node, concat('artifact:', {prefix:String})) OR startsWith(node, concat('dataset:', {prefix:String})))
)
WHERE {kind:String} = '' OR kind = {kind:String}
GROUP BY kind, digest
ORDER BY kind, digest
LIMIT 21 BY kind
