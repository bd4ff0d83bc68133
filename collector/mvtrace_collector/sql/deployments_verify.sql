SELECT uniqExact((project, event_id)) AS found
FROM {database}.deployments
WHERE (project, event_id) IN (SELECT project, event_id FROM stage_decisions WHERE problem = '' AND name = 'mvtrace.deployment')
