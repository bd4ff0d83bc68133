-- The derivations of this segment, and whether they were stored before.
SELECT project, min((received_ms, seq, row)) AS came, digest, any(body) AS body,
    (project, digest) IN (SELECT project, digest FROM {database}.registry_entries WHERE kind = 'derivation' AND (project, digest) IN (SELECT project, digest FROM stage_registry)) AS is_known
FROM stage_registry
WHERE event_name = 'mvtrace.entry' AND name = 'derivation' AND problem = ''
GROUP BY project, digest
SETTINGS max_threads = 1
