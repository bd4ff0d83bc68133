-- Looks whole, by their ids.
SELECT lower(hex(event_id)) AS event, body
FROM governance_events
WHERE project = {project:String} AND name = 'mvtrace.verdict'
    AND event_id IN (SELECT toFixedString(unhex(arrayJoin({events:Array(String)})), 16))
LIMIT 1 BY event
