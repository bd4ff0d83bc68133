-- Composite versions by the first digits: registered ones, and those only requests name.
SELECT DISTINCT version
FROM composites
WHERE project = {project:String}
    AND startsWith(version, {prefix:String})
ORDER BY version
LIMIT 21
UNION DISTINCT
SELECT DISTINCT assumeNotNull(composite_version) AS version
FROM requests
WHERE project = {project:String}
    AND startsWith(composite_version, {prefix:String})
ORDER BY version
LIMIT 21
