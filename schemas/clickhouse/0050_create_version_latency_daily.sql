-- How long the requests of each version took, day by day; quantiles are exact. A websocket is none of
-- them: it lasts as long as its user. A view over `requests`.
CREATE VIEW IF NOT EXISTS {database}.version_latency_daily
SQL SECURITY INVOKER
AS SELECT
    project,
    toDate(started_at) AS day,
    environment,
    service,
    composite_version,
    substring(composite_version, 1, 12) AS version,
    arm,
    count() AS requests,
    countIf(ifNull(outcome = 'error', 0) OR ifNull(status_code >= 500, 0)) AS errors,
    avg(duration_ns) / 1e6 AS mean_ms,
    quantileExact(0.5)(duration_ns) / 1e6 AS p50_ms,
    quantileExact(0.95)(duration_ns) / 1e6 AS p95_ms,
    quantileExact(0.99)(duration_ns) / 1e6 AS p99_ms,
    max(duration_ns) / 1e6 AS max_ms,
    quantileExact(0.5)(first_byte_ns) / 1e6 AS p50_first_byte_ms,
    quantileExact(0.95)(first_byte_ns) / 1e6 AS p95_first_byte_ms
FROM {database}.requests FINAL
WHERE state = 'finished' AND protocol != 'websocket'
GROUP BY
    project,
    day,
    environment,
    service,
    composite_version,
    arm
