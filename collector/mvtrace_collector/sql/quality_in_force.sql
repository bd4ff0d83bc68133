-- The plans by which verdicts were kept since some time, each once, with when the last of them came.
SELECT JSONExtractString(body, 'plan_digest') AS plan, argMax(JSONExtractRaw(body, 'plan'), received_at) AS said,
    toUnixTimestamp64Milli(max(received_at)) AS kept
FROM {database}.governance_events
WHERE project = {project:String} AND name = 'mvtrace.verdict'
    AND received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
GROUP BY plan
HAVING plan != ''
ORDER BY kept DESC, plan
LIMIT 200
