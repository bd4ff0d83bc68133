-- Composite versions with their manifests, and bodies of components: theirs, and those observed.
SELECT
    'composite' AS what,
    version AS id,
    toString(name) AS title,
    manifest AS body,
    labels,
    provenance,
    received_at
FROM composites
WHERE project = {project:String}
    AND version IN {versions:Array(String)}
UNION ALL
SELECT
    'component' AS what,
    digest AS id,
    '' AS title,
    body,
    map() AS labels,
    '' AS provenance,
    received_at
FROM components
WHERE project = {project:String}
    AND digest IN
    (
        SELECT arrayJoin(component_digests)
        FROM composites
        WHERE project = {project:String}
            AND version IN {versions:Array(String)}
        UNION ALL
        SELECT arrayJoin({digests:Array(String)})
    )
