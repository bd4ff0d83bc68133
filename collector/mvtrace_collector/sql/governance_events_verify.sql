SELECT uniqExact((project, event_id)) AS found
FROM {database}.governance_events
WHERE (project, event_id) IN (SELECT project, event_id FROM stage_decisions WHERE problem = '' AND name != 'mvtrace.deployment')
