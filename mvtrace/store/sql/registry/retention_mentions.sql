-- Which artifacts and components the bodies of components mention: all, or those that mention some.
SELECT
    substring(digest, 8) AS component,
    arrayFilter(one -> one != component, arrayDistinct(extractAll(body, '[0-9a-f]{64}'))) AS mentions
FROM components
WHERE project = {project:String}
    AND startsWith(digest, concat('sha256:', {prefix:String}))
    AND notEmpty(mentions)
    AND
    (
        (empty({digests:Array(String)}) AND empty({components:Array(String)}))
        OR hasAny(mentions, {digests:Array(String)})
        OR digest IN {components:Array(String)}
    )
LIMIT 1 BY component
