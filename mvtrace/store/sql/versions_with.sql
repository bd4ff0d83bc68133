-- Composite versions that contain one of some components.
SELECT
    version,
    arrayIntersect(component_digests, {digests:Array(String)}) AS found
FROM composites
WHERE project = {project:String}
    AND hasAny(component_digests, {digests:Array(String)})
LIMIT 10000
