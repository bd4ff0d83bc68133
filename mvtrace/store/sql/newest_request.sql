-- When the newest stored request started; no row where nothing is stored.
SELECT toUnixTimestamp64Nano(started_at) AS started
FROM requests
WHERE project = {project:String}
ORDER BY request_id DESC
LIMIT 1
