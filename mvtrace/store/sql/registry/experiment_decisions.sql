-- Decisions to have some versions serve all requests, the first first.
SELECT DISTINCT
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
ORDER BY at, seq, event_id
LIMIT 10000
