-- The range of each score by name, of what one version or arm served within a time. Votes say nothing of a
-- scale: their key is in everybody's hands. The newest are enough: by values beyond it nothing is judged, and it is told.
WITH scored AS
(
    SELECT request_id, name, value
    FROM scores
    WHERE project = {project:String}
        AND request_id >= unhex({first:String})
        AND request_id <= unhex({last:String})
        AND name IN {names:Array(String)}
        AND voter = ''
        AND value IS NOT NULL
    ORDER BY project DESC, request_id DESC
    LIMIT 100000
)
SELECT toString(name) AS metric, min(value) AS low, max(value) AS high, count() AS scores
FROM scored
WHERE request_id IN
(
    SELECT request_id
    FROM requests
    WHERE project = {project:String}
        AND request_id IN (SELECT request_id FROM scored)
        AND if({by:String} = 'arm', ifNull(arm, ''), ifNull(composite_version, '')) = {baseline:String}
        AND ({environment:String} = '' OR environment = {environment:String})
        AND ({service:String} = '' OR service = {service:String})
)
GROUP BY metric
LIMIT 1000
