-- Decisions about what serves, up to a moment; an empty text stands for any service or environment.
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
    AND at <= fromUnixTimestamp64Nano({until:Int64}, 'UTC')
ORDER BY
    at DESC,
    seq DESC,
    event_id DESC
LIMIT 1 BY event_id
LIMIT 100000
