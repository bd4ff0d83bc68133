-- Gaps, newest state of each, the latest first; an empty text stands for any value.
SELECT
    hex(producer_id) AS producer,
    first,
    argMax(last, revision) AS last_number,
    argMax(missing_ranges, revision) AS ranges,
    argMax(reason, revision) AS why,
    argMax(service, revision) AS service_name,
    argMax(environment, revision) AS environment_name,
    argMax(toUnixTimestamp64Milli(started_after), revision) AS after_ms,
    argMax(toUnixTimestamp64Milli(started_before), revision) AS before_ms,
    argMax(toUnixTimestamp64Milli(detected_at), revision) AS detected_ms
FROM ingest_gaps
WHERE project = {project:String}
    AND ({producer:String} = '' OR producer_id = unhex({producer:String}))
GROUP BY
    producer_id,
    first
HAVING ({only_open:UInt8} = 0 OR notEmpty(ranges))
    AND ({service:String} = '' OR service_name = {service:String})
    AND ({environment:String} = '' OR environment_name = {environment:String})
    AND (ifNull(before_ms, detected_ms) >= {since_ms:Int64})
    AND (ifNull(after_ms, 0) <= {until_ms:Int64})
ORDER BY
    ifNull(before_ms, detected_ms) DESC,
    producer_id,
    first
LIMIT {limit:UInt32}
