-- The edges of what was registered before there were any: those that digests prove. Repeated, it adds
-- the same rows again, which are one.
INSERT INTO {database}.lineage_edges (project, direction, node, other, role, source, received_at)
SELECT project, direction, if(direction = 'up', child, parent), if(direction = 'up', parent, child), role, '', received_at
FROM
(
    SELECT project, received_at, concat('composite:', version) AS child, concat('component:', substring(part.3, 8)) AS parent, concat(part.1, '/', part.2) AS role
    FROM {database}.composites
    ARRAY JOIN arrayDistinct(arrayZip(component_kinds, component_names, component_digests)) AS part
    WHERE match(part.3, '^sha256:[0-9a-f]{64}$')
    UNION ALL
    SELECT project, received_at, concat('component:', substring(digest, 8)) AS child, concat('component:', part[2]) AS parent, JSONExtractString(concat('["', part[1], '"]'), 1) AS role
    FROM {database}.components
    ARRAY JOIN extractAllGroupsVertical(body, '\\{"component":"([a-z_]+/(?:[^"\\\\]|\\\\.){1,256})","digest":"sha256:([0-9a-f]{64})"\\}') AS part
    UNION ALL
    SELECT project, received_at, concat('component:', substring(digest, 8)) AS child, concat('artifact:', substring(artifact, 8)) AS parent, 'artifact' AS role
    FROM (SELECT *, JSONExtractString(body, 'facts', 'artifact', 'digest') AS artifact FROM {database}.components)
    WHERE match(artifact, '^sha256:[0-9a-f]{64}$')
)
ARRAY JOIN ['up', 'down'] AS direction
