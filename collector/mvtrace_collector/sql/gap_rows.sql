-- The newest row of each gap of a producer, or every gap that is open.
SELECT
    project, lower(hex(producer_id)) AS producer, first, argMax(last, revision) AS last_number, max(revision) AS newest,
    argMax(missing_ranges, revision) AS ranges, argMax(reason, revision) AS why, argMax(service, revision) AS service_name,
    argMax(environment, revision) AS environment_name, argMax(ifNull(toUnixTimestamp64Milli(started_after), 0), revision) AS after_ms,
    argMax(ifNull(toUnixTimestamp64Milli(started_before), 0), revision) AS before_ms, argMax(toUnixTimestamp64Milli(detected_at), revision) AS detected_ms
FROM {database}.ingest_gaps
WHERE {producer:String} = '' OR (project = {project:String} AND producer_id = unhex({producer:String}))
GROUP BY project, producer_id, first
HAVING {producer:String} != '' OR notEmpty(ranges)
ORDER BY project, producer, first
SETTINGS max_threads = 1
