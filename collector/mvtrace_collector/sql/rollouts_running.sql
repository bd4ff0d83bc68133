-- Where a canary may be running, of all projects: the last one began after whatever ended one there,
-- and was not taken back since.
SELECT project, service, environment
FROM
(
    SELECT
        project, service, environment,
        maxIf(at, action = 'canary') AS begun,
        argMaxIf(composite, at, action = 'canary') AS canary,
        maxIf(at, action IN ('deploy', 'promote', 'rollback')) AS ended,
        maxMapIf(map(composite, at), action = 'revert') AS taken_back
    FROM {database}.deployments
    GROUP BY project, service, environment
)
WHERE begun > ended AND taken_back[canary] < begun
ORDER BY begun DESC, project, service, environment
LIMIT {most:UInt32}
