-- Whether a verdict that was just kept is a row.
SELECT 1 AS stored
FROM governance_events
WHERE project = {project:String}
    AND name = 'mvtrace.verdict'
    AND at >= fromUnixTimestamp({since:Int64})
    AND JSONExtractString(body, 'digest') = {digest:String}
LIMIT 1
