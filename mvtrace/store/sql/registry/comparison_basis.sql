-- Whether a version was made of what its requests met, as its first request in a time says.
SELECT JSONExtractString(record, 'composite_basis') = 'observed' AS is_observed
FROM requests
WHERE project = {project:String}
    AND request_id >= unhex({first:String})
    AND request_id <= unhex({last:String})
    AND composite_version = {version:String}
ORDER BY project, request_id
LIMIT 1
