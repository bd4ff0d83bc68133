-- Which version answered a request, by the newest revision of its record.
SELECT request_id_text AS request, composite_version, service, environment
FROM requests
WHERE project = {project:String} AND request_id = unhex({request:String})
ORDER BY revision DESC
LIMIT 1
