-- All decisions about what serves.
SELECT
    lower(hex(event_id)) AS event,
    toUnixTimestamp64Nano(at) AS decided,
    seq,
    body,
    actor,
    actor_label,
    toUnixTimestamp64Milli(received_at) AS received_ms
FROM deployments
WHERE project = {project:String}
ORDER BY decided, seq, event
LIMIT 1 BY event
