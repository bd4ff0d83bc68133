-- How many requests an hour has; a request of several revisions counts so often.
SELECT count()
FROM {database}.requests
WHERE project = {project:String} AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
