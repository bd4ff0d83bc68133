-- The newest entry of one kind and name.
SELECT digest, name, body
FROM registry_entries
WHERE project = {project:String} AND kind = {kind:String} AND name = {name:String}
ORDER BY received_at DESC, digest
LIMIT 1
