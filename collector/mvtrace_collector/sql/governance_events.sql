-- Retentions and verdicts that the store does not have yet: one that is sent again keeps its place.
INSERT INTO {database}.governance_events (project, name, at, seq, event_id, actor, actor_label, body, received_at)
SETTINGS {insert_settings}
SELECT
    project, name, fromUnixTimestamp64Nano(at_ns, 'UTC'), seq, event_id, actor, actor_label, body, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC')
FROM stage_decisions
WHERE is_new AND name != 'mvtrace.deployment'
    AND (project, name, event_id) NOT IN
        (SELECT project, name, event_id FROM {database}.governance_events WHERE (project, name, event_id) IN (SELECT project, name, event_id FROM stage_decisions))
