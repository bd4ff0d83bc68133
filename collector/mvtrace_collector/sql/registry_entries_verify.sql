SELECT uniqExact((project, digest)) AS found
FROM {database}.registry_entries
WHERE (project, kind, digest) IN (SELECT project, name, digest FROM stage_registry WHERE problem = '' AND event_name = 'mvtrace.entry')
