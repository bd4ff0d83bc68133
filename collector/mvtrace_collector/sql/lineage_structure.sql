-- The edges that the digests of this segment prove: a version and its components, a component and the
-- parts that it pins, a component and its artifact.
SELECT project, min((received_ms, seq, row)) AS came, event, child, parent, role,
    (project, child, parent, role) IN (SELECT project, node, other, role FROM {database}.lineage_edges
        WHERE direction = 'up' AND source = '' AND (project, node) IN
            (SELECT project, if(event_name = 'mvtrace.composite', concat('composite:', digest), concat('component:', substring(digest, 8))) FROM stage_registry
                WHERE problem = '' AND event_name IN ('mvtrace.component', 'mvtrace.composite'))) AS is_known
FROM
(
    SELECT project, received_ms, seq, row, concat(event_name, ' ', digest) AS event, concat('composite:', digest) AS child, concat('component:', substring(part.3, 8)) AS parent, concat(part.1, '/', part.2) AS role
    FROM stage_registry
    ARRAY JOIN JSONExtract(body, 'components', 'Array(Tuple(kind String, name String, digest String))') AS part
    WHERE event_name = 'mvtrace.composite' AND problem = '' AND match(part.3, '^sha256:[0-9a-f]{64}$')
    UNION ALL
    SELECT project, received_ms, seq, row, concat(event_name, ' ', digest) AS event, concat('component:', substring(digest, 8)) AS child, concat('component:', part[2]) AS parent, JSONExtractString(concat('["', part[1], '"]'), 1) AS role
    FROM stage_registry
    ARRAY JOIN extractAllGroupsVertical(body, '\\{"component":"([a-z_]+/(?:[^"\\\\]|\\\\.){1,256})","digest":"sha256:([0-9a-f]{64})"\\}') AS part
    WHERE event_name = 'mvtrace.component' AND problem = ''
    UNION ALL
    SELECT project, received_ms, seq, row, event, concat('component:', substring(digest, 8)) AS child, concat('artifact:', substring(artifact, 8)) AS parent, 'artifact' AS role
    FROM (SELECT *, concat(event_name, ' ', digest) AS event, JSONExtractString(body, 'facts', 'artifact', 'digest') AS artifact FROM stage_registry WHERE event_name = 'mvtrace.component' AND problem = '')
    WHERE match(artifact, '^sha256:[0-9a-f]{64}$')
)
GROUP BY project, event, child, parent, role
SETTINGS max_threads = 1
