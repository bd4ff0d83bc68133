-- Verdicts as they were kept, the newest first.
SELECT
    lower(hex(event_id)) AS event,
    toUnixTimestamp64Milli(at) AS at_ms,
    actor,
    actor_label,
    body
FROM governance_events
WHERE project = {project:String}
    AND name = 'mvtrace.verdict'
    AND ({service:String} = '' OR JSONExtractString(body, 'service') = {service:String})
    AND ({environment:String} = '' OR JSONExtractString(body, 'environment') = {environment:String})
    AND ({decision:String} = '' OR JSONExtractString(body, 'decision') = {decision:String})
    AND ({digest:String} = '' OR startsWith(JSONExtractString(body, 'digest'), {digest:String}))
    AND ({version:String} = '' OR startsWith(JSONExtractString(body, 'baseline'), {version:String}) OR startsWith(JSONExtractString(body, 'candidate'), {version:String}))
ORDER BY at DESC, event
LIMIT 1 BY event
LIMIT {limit:UInt32}
