-- What is stored of some minutes, newest state of each row.
SELECT service, environment, kind, name, what, expected, observed, intDiv(toUnixTimestamp(minute), 60) AS number,
    lower(hex(argMax(first_request, revision))) AS first, lower(hex(argMax(last_request, revision))) AS last,
    argMax(requests, revision) AS counted
FROM {database}.drift_minutes
WHERE project = {project:String}
    AND minute BETWEEN toDateTime({first_minute:Int64} * 60, 'UTC') AND toDateTime({last_minute:Int64} * 60, 'UTC')
GROUP BY service, environment, kind, name, what, expected, observed, minute
HAVING counted > 0
