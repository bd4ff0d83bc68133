-- Deployments that the store does not have yet.
INSERT INTO {database}.deployments
    (project, service, environment, at, seq, event_id, action, composite, share, actor, actor_label, claimed_actor, reason, body, received_at)
SETTINGS {insert_settings}
SELECT
    project, service, environment, fromUnixTimestamp64Nano(at_ns, 'UTC'), seq, event_id, action, composite, share, actor, actor_label,
    claimed_actor, reason, body, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC')
FROM stage_decisions
WHERE is_new AND name = 'mvtrace.deployment'
