-- The plans of a project, the newest first.
SELECT body
FROM {database}.registry_entries
WHERE project = {project:String} AND kind = 'plan'
ORDER BY received_at DESC, digest
LIMIT 1 BY digest
LIMIT 200
