-- One row per decision of a router: what it chose, by which policy, with which score against which
-- threshold, and who was weighed or tried beside it. A view over the records.
CREATE VIEW IF NOT EXISTS {database}.router_choices
SQL SECURITY INVOKER
AS SELECT
    project,
    request_id,
    request_id_text,
    started_at,
    service,
    environment,
    route,
    composite_version,
    substring(composite_version, 1, 12) AS version,
    arm,
    one.name AS router,
    one.policy_digest AS policy_digest,
    one.chosen AS chosen,
    one.reason AS reason,
    arrayFirstOrNull(c -> c.name = ifNull(one.chosen, ''), one.candidates).score AS chosen_score,
    arrayFirstOrNull(c -> c.name = ifNull(one.chosen, ''), one.candidates).threshold AS chosen_threshold,
    one.candidates.name AS candidates,
    one.candidates.score AS scores,
    one.fallbacks AS fallbacks,
    one.features AS features
FROM
(
    SELECT
        project,
        request_id,
        request_id_text,
        started_at,
        service,
        environment,
        route,
        composite_version,
        arm,
        JSONExtract(record, 'router_decisions', 'Array(Tuple(
            name String, policy_digest Nullable(String), chosen Nullable(String), reason Nullable(String),
            candidates Array(Tuple(name String, score Nullable(Float64), threshold Nullable(Float64))),
            fallbacks Array(String), features Map(String, String)))') AS told
    FROM {database}.requests FINAL
)
ARRAY JOIN told AS one
