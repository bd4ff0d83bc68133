-- The newest versions that hold a component.
SELECT
    version,
    toString(argMax(name, received_at)) AS title
FROM composites
WHERE project = {project:String} AND has(component_digests, {digest:String})
GROUP BY version
ORDER BY max(received_at) DESC, version
LIMIT {limit:UInt32}
