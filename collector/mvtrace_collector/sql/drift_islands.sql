-- The affected requests of one slot and value, as islands: neighbours at most some time apart.
SELECT lower(hex(min(first))) AS first_request, lower(hex(max(last))) AS last_request, sum(counted) AS requests
FROM
(
    SELECT first, last, counted, sum(is_apart) OVER (ORDER BY minute ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS island
    FROM
    (
        SELECT minute, first, last, counted,
            reinterpretAsUInt64(reverse(substring(first, 1, 6)))
                > max(reinterpretAsUInt64(reverse(substring(last, 1, 6)))) OVER (ORDER BY minute ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) + {calm_ms:UInt64} AS is_apart
        FROM
        (
            SELECT minute, argMax(first_request, revision) AS first, argMax(last_request, revision) AS last, argMax(requests, revision) AS counted
            FROM {database}.drift_minutes
            WHERE project = {project:String} AND service = {service:String} AND environment = {environment:String}
                AND kind = {kind:String} AND name = {name:String} AND what = {what:String}
                AND expected = {expected:String} AND observed = {observed:String}
                AND minute BETWEEN toDateTime({first_minute:Int64} * 60, 'UTC') AND toDateTime({last_minute:Int64} * 60, 'UTC')
            GROUP BY minute
            HAVING counted > 0
        )
    )
)
GROUP BY island
ORDER BY first_request
LIMIT 10000
