-- Entries of one kind, the newest first.
SELECT digest, any(name) AS name, any(body) AS body, toString(min(received_at)) AS received
FROM registry_entries
WHERE project = {project:String} AND kind = {kind:String}
GROUP BY digest
ORDER BY min(received_at) DESC, digest
LIMIT {limit:UInt32}
