-- Composite versions by their first digits: registered ones, and those only requests name.
SELECT DISTINCT version
FROM
(
    SELECT version
    FROM composites
    WHERE project = {project:String} AND startsWith(version, {prefix:String})
    UNION ALL
    SELECT assumeNotNull(composite_version) AS version
    FROM requests
    WHERE project = {project:String} AND startsWith(assumeNotNull(composite_version), {prefix:String})
)
ORDER BY version
LIMIT 21
