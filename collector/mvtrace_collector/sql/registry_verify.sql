SELECT 'components' AS name, uniqExact((project, digest)) AS expected,
    (SELECT uniqExact((project, digest)) FROM {database}.components
        WHERE (project, digest) IN (SELECT project, digest FROM stage_registry WHERE problem = '' AND event_name = 'mvtrace.component')) AS found
FROM stage_registry
WHERE problem = '' AND event_name = 'mvtrace.component'
UNION ALL
SELECT 'composites', uniqExact((project, digest)),
    (SELECT uniqExact((project, version)) FROM {database}.composites
        WHERE (project, version) IN (SELECT project, digest FROM stage_registry WHERE problem = '' AND event_name = 'mvtrace.composite'))
FROM stage_registry
WHERE problem = '' AND event_name = 'mvtrace.composite'
UNION ALL
SELECT 'contents', uniqExact((project, digest)),
    (SELECT uniqExact((project, digest)) FROM {database}.contents
        WHERE (project, digest) IN (SELECT project, digest FROM stage_registry WHERE problem = '' AND event_name = 'mvtrace.content'))
FROM stage_registry
WHERE problem = '' AND event_name = 'mvtrace.content'
UNION ALL
SELECT 'quarantine', count(), count() FROM stage_registry WHERE problem != ''
