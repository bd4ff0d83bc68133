-- Of some versions the last decision to have each serve all requests.
SELECT
    composite,
    lower(hex(event_id)) AS event_id,
    formatDateTime(at, '%Y-%m-%dT%H:%i:%SZ') AS time,
    at,
    seq,
    action,
    service,
    environment,
    actor,
    actor_label,
    claimed_actor
FROM deployments
WHERE project = {project:String}
    AND composite IN {versions:Array(String)}
    AND (action = 'promote' OR (action = 'deploy' AND share = 1))
ORDER BY at DESC, seq DESC, event_id DESC
LIMIT 1 BY composite
