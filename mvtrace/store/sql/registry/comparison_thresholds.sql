-- The baseline's figures that a plan freezes: how slow its slowest requests were, before the canary.
SELECT
    count() AS counted,
    quantilesExact(0.95, 0.99)(duration_ns / 1e6) AS latency_ms
FROM
(
    SELECT assumeNotNull(duration_ns) AS duration_ns
    FROM requests
    WHERE project = {project:String}
        AND request_id >= unhex({first:String})
        AND request_id <= unhex({last:String})
        AND state = 'finished'
        AND protocol != 'websocket'
        AND requests.duration_ns IS NOT NULL
        AND if({by:String} = 'arm', ifNull(arm, ''), ifNull(composite_version, '')) = {side:String}
        AND ({environment:String} = '' OR environment = {environment:String})
        AND ({service:String} = '' OR service = {service:String})
    LIMIT 1 BY request_id
    LIMIT 1000000
)
