-- What was said of collecting artifacts: all of it, or of some artifacts.
SELECT
    lower(hex(event_id)) AS event,
    toUnixTimestamp64Nano(at) AS said,
    seq,
    body,
    actor,
    actor_label,
    toUnixTimestamp64Milli(received_at) AS received_ms
FROM governance_events
WHERE project = {project:String}
    AND name = 'mvtrace.retention'
    AND JSONExtractString(body, 'action') IN ('collect', 'collected', 'release', 'restored')
    AND startsWith(JSONExtractString(body, 'artifact'), {prefix:String})
    AND (empty({artifacts:Array(String)}) OR JSONExtractString(body, 'artifact') IN {artifacts:Array(String)})
ORDER BY received_ms, seq, said, event
LIMIT 1 BY event
