-- Composite versions, the newest name, labels and provenance of each: they are no part of the version.
-- Who says nothing of where parts come from takes nothing away of what was said before.
INSERT INTO {database}.composites (project, version, name, manifest, labels, provenance, component_kinds, component_names, component_digests, received_at)
SETTINGS {insert_settings}
WITH
    newest AS
    (
        SELECT project, digest, argMax(name, (seq, row)) AS name, any(body) AS manifest, argMax(JSONExtract(labels, 'Map(String, String)'), (seq, row)) AS labels,
            argMaxIf(provenance, (seq, row), provenance != '') AS said,
            JSONExtract(manifest, 'components', 'Array(Tuple(kind String, name String, digest String))') AS components, max(received_ms) AS received_ms
        FROM stage_registry
        WHERE event_name = 'mvtrace.composite' AND problem = ''
        GROUP BY project, digest
    ),
    known AS
    (
        SELECT project, version AS digest, argMaxIf(provenance, received_at, provenance != '') AS said_before
        FROM {database}.composites
        WHERE (project, version) IN (SELECT project, digest FROM newest)
        GROUP BY project, version
    )
SELECT
    project, digest, name, manifest, labels, if(said = '', said_before, said) AS provenance,
    components.kind, components.name, components.digest, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC')
FROM newest LEFT ANY JOIN known USING (project, digest)
WHERE (project, digest, name, labels, provenance) NOT IN
    (SELECT project, version, name, labels, provenance FROM {database}.composites WHERE (project, version) IN (SELECT project, digest FROM newest))
