-- Which part of the requests of an hour each version and arm answered, beside the share that was planned
-- for the canary. A view over `quality_hourly`.
CREATE VIEW IF NOT EXISTS {database}.version_share
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
    answered AS requests,
    sum(answered) OVER (PARTITION BY project, hour, environment, service) AS all_requests,
    answered / all_requests AS share,
    if(planned_requests = 0, NULL, planned / planned_requests) AS planned_canary
FROM
(
    SELECT
        project,
        hour,
        environment,
        service,
        composite_version,
        arm,
        rollout,
        sum(requests) AS answered,
        sum(requests * toFloat64OrZero(toString(phase))) AS planned,
        sumIf(requests, phase != '') AS planned_requests
    FROM {database}.quality_hourly FINAL
    WHERE requests > 0 AND metric = 'request'
    GROUP BY
        project,
        hour,
        environment,
        service,
        composite_version,
        arm,
        rollout
)
