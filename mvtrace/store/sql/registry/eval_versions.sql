-- Versions that start so, registered or only scored.
SELECT DISTINCT version
FROM
(
    SELECT version FROM composites WHERE project = {project:String} AND startsWith(version, {prefix:String})
    UNION ALL
    SELECT composite AS version FROM eval_results WHERE project = {project:String} AND startsWith(composite, {prefix:String})
)
ORDER BY version
LIMIT 21
