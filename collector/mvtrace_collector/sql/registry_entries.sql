-- Entries that the store does not have yet: who registered one first is kept.
INSERT INTO {database}.registry_entries (project, kind, digest, name, body, actor, actor_label, received_at)
SETTINGS {insert_settings}
SELECT
    project, any(name), digest, left(JSONExtractString(any(body), 'name'), 200), any(body), argMin(actor, (seq, row)), argMin(actor_label, (seq, row)),
    fromUnixTimestamp64Milli(toInt64(min(received_ms)), 'UTC')
FROM stage_registry
WHERE event_name = 'mvtrace.entry' AND problem = ''
    AND (project, digest) NOT IN (SELECT project, digest FROM {database}.registry_entries WHERE (project, kind, digest) IN (SELECT project, name, digest FROM stage_registry))
GROUP BY project, digest
