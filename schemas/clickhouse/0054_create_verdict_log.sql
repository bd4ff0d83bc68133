-- What comparisons came to, look by look. A view over `governance_events`, where each verdict is kept whole
-- with the statistics that it can be recomputed from.
CREATE VIEW IF NOT EXISTS {database}.verdict_log
SQL SECURITY INVOKER
AS SELECT
    project,
    at,
    event_id_hex AS event,
    JSONExtractString(body, 'environment') AS environment,
    JSONExtractString(body, 'service') AS service,
    JSONExtractString(body, 'by') AS compared_by,
    JSONExtractString(body, 'baseline') AS baseline,
    JSONExtractString(body, 'candidate') AS candidate,
    JSONExtractString(body, 'rollout') AS rollout,
    JSONExtractString(body, 'decision') AS decision,
    JSONExtractString(body, 'reason') AS reason,
    JSONExtract(body, 'metrics', 'Array(String)') AS metrics,
    JSONExtractString(body, 'sentence') AS sentence,
    JSONExtractString(body, 'guarantee') AS guarantee,
    JSONExtractUInt(body, 'past', 'looks') AS looks,
    JSONExtractString(body, 'plan_digest') AS plan_digest,
    JSONExtractString(body, 'digest') AS digest,
    actor,
    actor_label
FROM {database}.governance_events FINAL
WHERE name = 'mvtrace.verdict'
