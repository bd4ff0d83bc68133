-- Which version and arm answered some requests.
SELECT
    request_id_text AS id,
    service,
    environment,
    composite_version,
    arm
FROM requests
WHERE project = {project:String}
    AND request_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))
ORDER BY
    request_id,
    revision DESC
LIMIT 1 BY request_id
