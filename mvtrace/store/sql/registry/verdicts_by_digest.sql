-- Verdicts whole, by the digests that are said in them.
SELECT JSONExtractString(body, 'digest') AS digest, body
FROM governance_events
WHERE project = {project:String}
    AND name = 'mvtrace.verdict'
    AND digest IN {digests:Array(String)}
LIMIT 1 BY event_id
