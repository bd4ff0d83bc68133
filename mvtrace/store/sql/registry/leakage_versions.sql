-- All entries of one kind that have one of the names, the newest first.
SELECT digest, name, body
FROM registry_entries
WHERE project = {project:String}
    AND kind = {kind:String}
    AND name IN {names:Array(String)}
ORDER BY received_at DESC, digest
LIMIT {limit:UInt32}
