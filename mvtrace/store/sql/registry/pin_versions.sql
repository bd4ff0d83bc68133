-- Composite versions with their manifests; of what is in no digest the newest.
SELECT
    version,
    toString(argMax(name, received_at)) AS title,
    any(manifest) AS body,
    argMax(labels, received_at) AS named,
    argMaxIf(provenance, received_at, provenance != '') AS origins
FROM composites
WHERE project = {project:String} AND version IN {versions:Array(String)}
GROUP BY version
