-- Datasets whose root, or the digest of whose entry, starts so; the newest entry of each root.
SELECT
    JSONExtractString(body, 'root') AS root,
    argMax(name, received_at) AS newest_name,
    argMax(body, received_at) AS newest_body
FROM registry_entries
WHERE project = {project:String} AND kind = 'dataset'
    AND (startsWith(JSONExtractString(body, 'root'), {prefix:String}) OR startsWith(digest, concat('sha256:', {prefix:String})))
GROUP BY root
ORDER BY root
LIMIT 21
