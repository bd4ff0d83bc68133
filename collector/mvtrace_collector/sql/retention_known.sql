-- The steps of collections that the store has of the projects that deploy or collect in this segment.
SELECT project, toUnixTimestamp64Nano(at), seq, hex(event_id), body, toUnixTimestamp64Milli(received_at)
FROM {database}.governance_events
WHERE name = 'mvtrace.retention' AND project IN (SELECT project FROM stage_logs WHERE event_name IN ('mvtrace.deployment', 'mvtrace.retention'))
SETTINGS max_threads = 1
