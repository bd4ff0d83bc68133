-- Each score that holds beside what is known of its request: version, arm, route, who asked. A view over
-- `scores` and `requests`; a score whose request is not stored yet has no row.
CREATE VIEW IF NOT EXISTS {database}.scored_requests
SQL SECURITY INVOKER
AS SELECT
    r.project AS project,
    r.request_id AS request_id,
    r.request_id_text AS request_id_text,
    r.started_at AS started_at,
    r.service AS service,
    r.environment AS environment,
    r.route AS route,
    r.composite_version AS composite_version,
    r.version AS version,
    r.composite_name AS composite_name,
    r.arm AS arm,
    r.is_error AS is_error,
    r.duration_ms AS duration_ms,
    r.annotations AS annotations,
    s.name AS name,
    s.scorer AS scorer,
    s.is_declared AS is_declared,
    s.value AS value,
    s.label AS label,
    s.source AS source,
    s.scored_at AS scored_at,
    s.delay_ms AS delay_ms,
    s.revisions AS revisions
FROM {database}.requests_latest AS r
INNER JOIN {database}.score_latest AS s ON r.project = s.project AND r.request_id = s.request_id
