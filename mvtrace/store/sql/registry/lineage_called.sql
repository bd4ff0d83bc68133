-- Everything of a name, of one kind or (an empty text) of any, the newest first: entries, versions, and
-- the components of a slot. Of each kind one more than is shown.
SELECT kind, digest, any(label) AS name, max(received_at) AS newest
FROM
(
    SELECT kind, if(kind = 'dataset', replaceOne(JSONExtractString(body, 'root'), 'sha256:', ''), substring(registry_entries.digest, 8)) AS digest, name AS label, received_at
    FROM registry_entries
    WHERE project = {project:String} AND name = {name:String}
        AND kind IN ('dataset', 'experiment', 'scorer', 'suite', 'transformation')
    UNION ALL
    SELECT 'composite' AS kind, version AS digest, toString(name) AS label, received_at
    FROM composites
    WHERE project = {project:String} AND name = {name:String}
    UNION ALL
    SELECT 'component' AS kind, substring(part.3, 8) AS digest, concat(part.1, '/', part.2) AS label, received_at
    FROM composites
    ARRAY JOIN arrayZip(component_kinds, component_names, component_digests) AS part
    WHERE project = {project:String} AND concat(part.1, '/', part.2) = {name:String}
)
WHERE {kind:String} = '' OR kind = {kind:String}
GROUP BY kind, digest
ORDER BY newest DESC, kind, digest
LIMIT 21 BY kind
