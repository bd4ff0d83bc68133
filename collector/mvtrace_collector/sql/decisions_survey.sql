-- The decisions of one segment in the order in which they came, for Python to judge.
SELECT project, received_ms, seq, event_name, time_ns, body, body_kind = 's', actor, actor_label, grants
FROM stage_logs
WHERE event_name IN ('mvtrace.deployment', 'mvtrace.retention', 'mvtrace.verdict')
ORDER BY received_ms, seq, row
SETTINGS max_threads = 1
