-- How a producer ended, if it has; its newest word, a row a word until they are merged.
SELECT
    state,
    toUnixTimestamp64Milli(toDateTime64(ended_at, 3, 'UTC')) AS ended_ms
FROM producers
WHERE project = {project:String}
    AND producer_id = unhex({producer:String})
ORDER BY revision DESC
LIMIT 1
