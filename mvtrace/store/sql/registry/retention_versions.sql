-- Registered versions with their components: all, those with some components, or those named.
SELECT
    version,
    arrayMap(one -> substring(one, 8), component_digests) AS components,
    toUnixTimestamp64Milli(received_at) AS received_ms
FROM composites
WHERE project = {project:String}
    AND startsWith(version, {prefix:String})
    AND
    (
        (empty({components:Array(String)}) AND empty({versions:Array(String)}))
        OR hasAny(component_digests, {components:Array(String)})
        OR version IN {versions:Array(String)}
    )
ORDER BY received_at DESC
LIMIT 1 BY version
