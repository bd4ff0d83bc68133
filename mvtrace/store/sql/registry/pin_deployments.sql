-- Decisions about what serves: of a place, of some versions, or of the first digits of an event.
SELECT
    lower(hex(event_id)) AS event,
    toUnixTimestamp64Nano(at) AS decided,
    seq,
    body,
    actor,
    actor_label,
    toUnixTimestamp64Milli(received_at) * 1000000 AS received
FROM deployments
WHERE project = {project:String}
    AND ({service:String} = '' OR service = {service:String})
    AND ({environment:String} = '' OR environment = {environment:String})
    AND (empty({versions:Array(String)}) OR composite IN {versions:Array(String)})
    AND ({event:String} = '' OR startsWith(lower(hex(event_id)), {event:String}))
ORDER BY at DESC, seq DESC, event_id DESC
LIMIT 1 BY event_id
LIMIT 100000
