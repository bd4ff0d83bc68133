-- Which versions each of two arms was served by in a time, and how many requests, those of most first.
SELECT arm AS side, composite_version AS version, sum(requests) AS served
FROM quality_hourly FINAL
WHERE project = {project:String}
    AND metric = 'request'
    AND arm IN ({baseline:String}, {candidate:String})
    AND hour >= toStartOfHour(fromUnixTimestamp({since:Int64}))
    AND hour < fromUnixTimestamp({until:Int64})
    AND ({environment:String} = '' OR environment = {environment:String})
    AND ({service:String} = '' OR service = {service:String})
    AND ({rollout:String} = '' OR rollout = {rollout:String})
GROUP BY side, version
HAVING served > 0
ORDER BY side, served DESC, version
LIMIT 1000
