-- The entries of this segment with the kind that the engine reads in them, each once.
SELECT digest, any(name) AS kind, any(body) AS body
FROM stage_registry
WHERE event_name = 'mvtrace.entry' AND problem = ''
GROUP BY digest
SETTINGS max_threads = 1
