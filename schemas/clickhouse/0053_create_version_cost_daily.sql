-- What each version cost by day, at the prices of the list that was in force, with the requests whose
-- price is not known told apart. A view over `quality_hourly`.
CREATE VIEW IF NOT EXISTS {database}.version_cost_daily
SQL SECURITY INVOKER
AS SELECT
    project,
    toDate(hour) AS day,
    environment,
    service,
    composite_version,
    substring(composite_version, 1, 12) AS version,
    arm,
    sumIf(q.requests, metric = 'request') AS requests,
    sumIf(q.requests, metric = 'cost_usd') AS priced_requests,
    sumOrNullIf(q.total, metric = 'cost_usd') AS cost_usd,
    cost_usd / priced_requests AS cost_per_request,
    sumOrNullIf(q.total, metric = 'input_tokens') AS input_tokens,
    sumOrNullIf(q.total, metric = 'output_tokens') AS output_tokens,
    groupUniqArrayIf(toString(scorer), metric = 'cost_usd') AS price_lists
FROM {database}.quality_hourly AS q FINAL
WHERE q.requests > 0 AND metric IN ('request', 'cost_usd', 'input_tokens', 'output_tokens')
GROUP BY
    project,
    day,
    environment,
    service,
    composite_version,
    arm
