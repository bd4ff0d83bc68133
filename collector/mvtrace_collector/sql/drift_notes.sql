-- The notes of slots that nobody declared: that they changed, or are volatile.
SELECT service, environment, kind, name, what, expected, observed, lower(hex(min(first))) AS request
FROM
(
    SELECT service, environment, kind, name, what, expected, observed,
        argMax(first_request, revision) AS first, argMax(requests, revision) AS counted
    FROM {database}.drift_minutes
    WHERE project = {project:String} AND what IN ('changed', 'pinned', 'volatile')
    GROUP BY service, environment, kind, name, what, expected, observed, minute
    HAVING counted > 0
)
GROUP BY service, environment, kind, name, what, expected, observed
ORDER BY request
LIMIT 10000
