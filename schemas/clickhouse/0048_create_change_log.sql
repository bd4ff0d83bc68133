-- What changed, in one list by time: decisions about what serves, drift that began, the first request of
-- each version, the first score of each scorer. A view; for "what was different before it got worse".
CREATE VIEW IF NOT EXISTS {database}.change_log
SQL SECURITY INVOKER
AS SELECT
    project,
    toDateTime64(at, 3, 'UTC') AS at,
    toString(environment) AS environment,
    toString(service) AS service,
    'deployment' AS change,
    substring(composite, 1, 12) AS subject,
    concat(action, if(action = 'canary', concat(' at share ', toString(share)), ''), if(reason = '', '', concat(': ', reason))) AS detail,
    lower(hex(event_id)) AS reference
FROM {database}.deployments FINAL
UNION ALL
SELECT
    project,
    started_at AS at,
    toString(environment) AS environment,
    toString(service) AS service,
    'drift' AS change,
    slot AS subject,
    concat(what, ' ', substring(observed, 1, 19), ' instead of ', substring(expected, 1, 19), ', ', toString(requests), ' requests, ', state) AS detail,
    episode AS reference
FROM {database}.drift_log
UNION ALL
SELECT
    project,
    toDateTime64(first.1, 3, 'UTC') AS at,
    environment,
    service,
    'version' AS change,
    substring(version, 1, 12) AS subject,
    concat('first request of ', name) AS detail,
    concat(
        lower(hex(substring(first.2, 1, 4))), '-', lower(hex(substring(first.2, 5, 2))), '-',
        lower(hex(substring(first.2, 7, 2))), '-', lower(hex(substring(first.2, 9, 2))), '-',
        lower(hex(substring(first.2, 11, 6)))) AS reference
FROM
(
    SELECT
        project,
        toString(environment) AS environment,
        toString(service) AS service,
        toString(assumeNotNull(composite_version)) AS version,
        argMin(ifNull(composite_name, ''), (started_at, request_id)) AS name,
        min((started_at, request_id)) AS first
    FROM {database}.requests FINAL
    WHERE composite_version IS NOT NULL
    GROUP BY
        project,
        environment,
        service,
        version
)
UNION ALL
SELECT
    project,
    toDateTime64(first.1, 3, 'UTC') AS at,
    '' AS environment,
    '' AS service,
    'scorer' AS change,
    name AS subject,
    concat('first score by ', substring(scorer, 1, 40)) AS detail,
    concat(
        lower(hex(substring(first.2, 1, 4))), '-', lower(hex(substring(first.2, 5, 2))), '-',
        lower(hex(substring(first.2, 7, 2))), '-', lower(hex(substring(first.2, 9, 2))), '-',
        lower(hex(substring(first.2, 11, 6)))) AS reference
FROM
(
    SELECT
        project,
        toString(name) AS name,
        scorer,
        min((scored_at, request_id)) AS first
    FROM {database}.scores
    GROUP BY
        project,
        name,
        scorer
)
