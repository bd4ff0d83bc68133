-- Composite versions, the newest name and labels of each: they are no part of the version.
INSERT INTO {database}.composites (project, version, name, manifest, labels, component_kinds, component_names, component_digests, received_at)
SETTINGS {insert_settings}
WITH newest AS
(
    SELECT project, digest, argMax(name, (seq, row)) AS name, any(body) AS manifest, argMax(JSONExtract(labels, 'Map(String, String)'), (seq, row)) AS labels,
        JSONExtract(manifest, 'components', 'Array(Tuple(kind String, name String, digest String))') AS components, max(received_ms) AS received_ms
    FROM stage_registry
    WHERE event_name = 'mvtrace.composite' AND problem = ''
    GROUP BY project, digest
)
SELECT project, digest, name, manifest, labels, components.kind, components.name, components.digest, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC')
FROM newest
WHERE (project, digest, name, labels) NOT IN
    (SELECT project, version, name, labels FROM {database}.composites WHERE (project, version) IN (SELECT project, digest FROM newest))
