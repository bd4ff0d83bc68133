-- The affected requests, in their order.
SELECT
    request,
    started_at,
    service,
    environment,
    route,
    composite_version
FROM ({affected})
ORDER BY request_id
LIMIT {limit:UInt32}
