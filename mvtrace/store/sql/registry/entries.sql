-- Entries of one kind by their digests.
SELECT DISTINCT digest, name, body, received_at
FROM registry_entries
WHERE project = {project:String} AND kind = {kind:String} AND digest IN {digests:Array(String)}
