-- The range of each score by name, of requests within a time; a name is one that a comparison asks.
SELECT toString(name) AS metric, min(value) AS low, max(value) AS high, count() AS scores
FROM scores
WHERE project = {project:String}
    AND request_id >= unhex({first:String})
    AND request_id <= unhex({last:String})
    AND name IN {names:Array(String)}
    AND value IS NOT NULL
GROUP BY metric
LIMIT 1000
