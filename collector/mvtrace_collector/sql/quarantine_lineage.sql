-- Edges that digests prove and that are left out all the same: somebody had said the contrary before.
INSERT INTO {database}.quarantine (project, received_at, quarantine_id, reason, detail, subject, body)
SETTINGS {insert_settings}
SELECT
    project, fromUnixTimestamp64Milli(toInt64(min(received_ms)), 'UTC'), substring(SHA256(concat(any(problem), '\n', event, '\n', child, '\n', parent, '\n', role)), 1, 16),
    splitByString(': ', any(problem))[1], substring(any(problem), position(any(problem), ': ') + 2), event, concat(child, ' ', parent, ' ', role)
FROM stage_lineage
WHERE problem != '' AND source = ''
GROUP BY project, event, child, parent, role
