-- The newest entries of one kind and name: more than one, since a reader skips what it cannot read.
SELECT digest, name, body
FROM registry_entries
WHERE project = {project:String} AND kind = {kind:String} AND name = {name:String}
ORDER BY received_at DESC, digest
LIMIT 21
