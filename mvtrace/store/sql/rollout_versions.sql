-- What a rollout chooses between: versions by themselves, by their first digits, or by a name.
SELECT
    version,
    toString(any(name)) AS title,
    arraySort(groupUniqArrayArray(arrayMap(kind -> toString(kind), component_kinds))) AS kinds
FROM composites
WHERE project = {project:String}
    AND (
        version IN {versions:Array(String)}
        OR arrayExists(digits -> startsWith(version, digits), {prefixes:Array(String)})
        OR name IN {names:Array(String)})
GROUP BY version
ORDER BY version
LIMIT 200
