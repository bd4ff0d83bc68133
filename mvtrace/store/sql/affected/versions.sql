-- What the affected requests ran, the most often first.
SELECT
    composite_version,
    service,
    environment,
    count() AS requests,
    lower(hex(min(request_id))) AS first,
    lower(hex(max(request_id))) AS last
FROM ({affected})
GROUP BY
    composite_version,
    service,
    environment
ORDER BY
    requests DESC,
    first
LIMIT 1000
