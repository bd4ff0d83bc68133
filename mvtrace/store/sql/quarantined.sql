-- What was turned away about some subjects.
SELECT
    subject,
    toUnixTimestamp64Milli(received_at) * 1000000 AS at,
    reason,
    detail
FROM quarantine
WHERE project = {project:String}
    AND subject IN {subjects:Array(String)}
LIMIT 100
