-- The deployments the store has of the projects that decide in this segment.
SELECT project, toUnixTimestamp64Nano(at), seq, hex(event_id), actor, actor_label, body, toUnixTimestamp64Milli(received_at)
FROM {database}.deployments
WHERE project IN (SELECT project FROM stage_logs WHERE event_name IN ('mvtrace.deployment', 'mvtrace.retention'))
SETTINGS max_threads = 1
