-- What each version came to by metric and hour, as comparisons read it: latency, errors, tokens, cost, and
-- each score by its scorer. A view over `quality_hourly`; sums of other hours add, means do not.
CREATE VIEW IF NOT EXISTS {database}.version_quality_hourly
SQL SECURITY INVOKER
AS SELECT
    project,
    hour,
    environment,
    service,
    composite_version,
    substring(composite_version, 1, 12) AS version,
    arm,
    rollout,
    metric,
    scorer,
    sum(q.requests) AS requests,
    sum(q.total) AS total,
    sum(q.squares) AS squares,
    sum(q.base) AS base,
    if(base = 0, NULL, total / base) AS mean,
    sqrt(greatest(squares / requests - pow(total / requests, 2), 0)) AS deviation
FROM {database}.quality_hourly AS q FINAL
WHERE q.requests > 0 AND NOT startsWith(metric, '>')
GROUP BY
    project,
    hour,
    environment,
    service,
    composite_version,
    arm,
    rollout,
    metric,
    scorer
