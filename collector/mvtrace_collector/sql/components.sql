-- Components that the store does not have yet.
INSERT INTO {database}.components (project, digest, kind, body, received_at)
SETTINGS {insert_settings}
SELECT project, digest, JSONExtractString(any(body), 'kind'), any(body), fromUnixTimestamp64Milli(toInt64(min(received_ms)), 'UTC')
FROM stage_registry
WHERE event_name = 'mvtrace.component' AND problem = ''
    AND (project, digest) NOT IN (SELECT project, digest FROM {database}.components WHERE (project, digest) IN (SELECT project, digest FROM stage_registry))
GROUP BY project, digest
