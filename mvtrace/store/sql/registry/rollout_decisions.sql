-- Decisions about what serves, of one service in one environment, an empty text being any.
SELECT
    lower(hex(event_id)) AS event,
    toString(toUnixTimestamp64Nano(at)) AS decided,
    toString(seq) AS number,
    body,
    actor,
    actor_label
FROM deployments
WHERE project = {project:String}
    AND ({service:String} = '' OR service = {service:String})
    AND ({environment:String} = '' OR environment = {environment:String})
ORDER BY
    at DESC,
    seq DESC,
    event_id DESC
LIMIT 1 BY event_id
LIMIT 100000
