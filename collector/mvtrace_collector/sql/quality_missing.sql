-- The hours whose roll-up has a metric, and not yet one that a plan makes of it. What is first is so
-- within a rollout.
SELECT intDiv(toUnixTimestamp(hour), 3600) AS number
FROM {database}.quality_hourly
WHERE project = {project:String} AND hour >= toDateTime({since:UInt32} * 3600, 'UTC')
    AND metric IN ({metric:String}, {made:String}) AND requests > 0
    AND (rollout != '' OR NOT endsWith({made:String}, ':first'))
GROUP BY hour
HAVING countIf(metric = {made:String}) = 0
ORDER BY number DESC
LIMIT 1000
