-- Registered composite versions by their first digits.
SELECT DISTINCT version
FROM composites
WHERE project = {project:String}
    AND startsWith(version, {prefix:String})
ORDER BY version
LIMIT 21
