-- Entries of one kind whose digest starts so; one more than is shown tells that there are more.
SELECT DISTINCT digest, name, body
FROM registry_entries
WHERE project = {project:String} AND kind = {kind:String} AND startsWith(digest, {prefix:String})
ORDER BY digest
LIMIT 21
