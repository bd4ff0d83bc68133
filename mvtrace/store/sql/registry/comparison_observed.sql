-- Which versions were made of what their requests met, as the first request of each in a time says.
SELECT DISTINCT ifNull(toString(composite_version), '') AS version
FROM requests
WHERE project = {project:String}
    AND request_id IN
    (
        SELECT min(request_id)
        FROM requests
        WHERE project = {project:String}
            AND request_id >= unhex({first:String})
            AND request_id <= unhex({last:String})
            AND composite_version IN {versions:Array(String)}
        GROUP BY composite_version
    )
    AND JSONExtractString(record, 'composite_basis') = 'observed'
