-- Every decision about what serves, in words. A view over `deployments`; what served at an instant is
-- folded from it in the order of (at, seq, event).
CREATE VIEW IF NOT EXISTS {database}.deployment_log
SQL SECURITY INVOKER
AS SELECT
    project,
    at,
    seq,
    event_id_hex AS event,
    service,
    environment,
    action,
    composite AS composite_version,
    substring(composite, 1, 12) AS version,
    share,
    reason,
    actor,
    actor_label,
    claimed_actor
FROM {database}.deployments FINAL
