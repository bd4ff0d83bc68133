-- Experiments, the newest first; an empty name is any.
SELECT digest, name, body, actor, actor_label, formatDateTime(min(registry_entries.received_at), '%Y-%m-%dT%H:%i:%SZ') AS started_at
FROM registry_entries
WHERE project = {project:String} AND kind = 'experiment' AND ({name:String} = '' OR name = {name:String})
GROUP BY digest, name, body, actor, actor_label
ORDER BY started_at DESC, digest
LIMIT 1000
