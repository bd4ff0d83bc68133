SELECT uniqExact((project, digest)) AS found
FROM {database}.components
WHERE (project, digest) IN (SELECT project, digest FROM stage_registry WHERE problem = '' AND event_name = 'mvtrace.component')
