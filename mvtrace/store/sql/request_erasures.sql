-- When content of one request was erased, by whom and why.
SELECT DISTINCT subject, toUnixTimestamp64Milli(erased_at) * 1000000 AS erased_at, erased_by, reason
FROM erasures
WHERE project = {project:String} AND request_id = unhex({request_id:String})
ORDER BY erased_at
