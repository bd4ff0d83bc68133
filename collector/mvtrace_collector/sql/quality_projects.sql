-- The projects that have requests.
SELECT DISTINCT toString(project)
FROM {database}.requests
