SELECT uniqExact((project, version)) AS found
FROM {database}.composites
WHERE (project, version) IN (SELECT project, digest FROM stage_registry WHERE problem = '' AND event_name = 'mvtrace.composite')
