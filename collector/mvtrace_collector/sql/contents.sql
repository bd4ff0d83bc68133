-- Pieces of content that the store does not have yet.
INSERT INTO {database}.contents (project, digest, content, received_at)
SETTINGS {insert_settings}
SELECT project, digest, any(body), fromUnixTimestamp64Milli(toInt64(min(received_ms)), 'UTC')
FROM stage_registry
WHERE event_name = 'mvtrace.content' AND problem = ''
    AND (project, digest) NOT IN (SELECT project, digest FROM {database}.contents WHERE (project, digest) IN (SELECT project, digest FROM stage_registry))
GROUP BY project, digest
