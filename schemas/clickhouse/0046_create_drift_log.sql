-- Each episode of drift as it stands: a slot was met with what it should not have had, from the first
-- request to the last. A view over `drift_episodes`, without those that a better one replaced.
CREATE VIEW IF NOT EXISTS {database}.drift_log
SQL SECURITY INVOKER
AS SELECT
    project,
    lower(hex(episode_id)) AS episode,
    newest.1 AS state,
    newest.2 AS basis,
    newest.3 AS service,
    newest.4 AS environment,
    concat(newest.5, '/', newest.6) AS slot,
    newest.7 AS what,
    newest.8 AS expected,
    newest.9 AS observed,
    newest.10 AS started_at,
    newest.11 AS last_at,
    newest.12 AS requests,
    concat(
        lower(hex(substring(newest.13, 1, 4))), '-', lower(hex(substring(newest.13, 5, 2))), '-',
        lower(hex(substring(newest.13, 7, 2))), '-', lower(hex(substring(newest.13, 9, 2))), '-',
        lower(hex(substring(newest.13, 11, 6)))) AS first_request,
    concat(
        lower(hex(substring(newest.14, 1, 4))), '-', lower(hex(substring(newest.14, 5, 2))), '-',
        lower(hex(substring(newest.14, 7, 2))), '-', lower(hex(substring(newest.14, 9, 2))), '-',
        lower(hex(substring(newest.14, 11, 6)))) AS last_request
FROM
(
    SELECT
        project,
        episode_id,
        argMax(
            (state, basis, service, environment, kind, name, what, expected, observed, started_at, last_at,
            requests, first_request, last_request), revision) AS newest
    FROM {database}.drift_episodes
    GROUP BY
        project,
        episode_id
)
WHERE newest.1 != 'withdrawn'
