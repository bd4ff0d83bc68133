-- Decisions whose id starts so.
SELECT DISTINCT lower(hex(event_id)) AS event, action, service, environment, composite
FROM deployments
WHERE project = {project:String} AND startsWith(lower(hex(event_id)), {prefix:String})
ORDER BY event
LIMIT 21
