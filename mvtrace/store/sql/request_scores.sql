-- The scores of a request, every revision; several ids where parts of its trace have their own.
SELECT
    toString(name) AS title,
    scorer,
    toString(source) AS origin,
    value,
    label,
    toUnixTimestamp64Nano(scored_at) AS at,
    lower(hex(event_id)) AS event
FROM scores
WHERE project = {project:String}
    AND request_id IN (SELECT toFixedString(unhex(arrayJoin({request_ids:Array(String)})), 16))
LIMIT 1 BY event
LIMIT 10000
