-- The entries of datasets by their roots, the newest first: where the rows of one may lie.
SELECT digest, name, body
FROM registry_entries
WHERE project = {project:String}
    AND kind = 'dataset'
    AND JSONExtractString(body, 'root') IN {roots:Array(String)}
ORDER BY received_at DESC, digest
