-- Versions whose parts are all among those of one of two versions and not of the other: what the one may have
-- been while a process warmed up. A version that both extend is neither.
WITH
    (
        SELECT arrayDistinct(arrayFlatten(groupArray(arrayMap((k, n, d) -> concat(k, '\x1f', n, '\x1f', d), component_kinds, component_names, component_digests))))
        FROM composites WHERE project = {project:String} AND version = {baseline:String}
    ) AS of_baseline,
    (
        SELECT arrayDistinct(arrayFlatten(groupArray(arrayMap((k, n, d) -> concat(k, '\x1f', n, '\x1f', d), component_kinds, component_names, component_digests))))
        FROM composites WHERE project = {project:String} AND version = {candidate:String}
    ) AS of_candidate
SELECT DISTINCT version, if(hasAll(of_baseline, parts), {baseline:String}, {candidate:String}) AS settled
FROM
(
    SELECT version, arrayMap((k, n, d) -> concat(k, '\x1f', n, '\x1f', d), component_kinds, component_names, component_digests) AS parts
    FROM composites
    WHERE project = {project:String} AND version NOT IN ({baseline:String}, {candidate:String})
)
WHERE notEmpty(parts) AND hasAll(of_baseline, parts) != hasAll(of_candidate, parts)
ORDER BY version
LIMIT 256
