-- Retentions and verdicts; one that is there already is written once more as the same row.
INSERT INTO {database}.governance_events (project, name, at, seq, event_id, actor, actor_label, body, received_at)
SETTINGS {insert_settings}
SELECT
    project, name, fromUnixTimestamp64Nano(at_ns, 'UTC'), seq, event_id, actor, actor_label, body, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC')
FROM stage_decisions
WHERE problem = '' AND name != 'mvtrace.deployment'
