-- Both ends of each edge that may be stored and is not yet.
INSERT INTO {database}.lineage_edges (project, direction, node, other, role, source, received_at)
SETTINGS {insert_settings}
SELECT project, direction, if(direction = 'up', child, parent) AS node, if(direction = 'up', parent, child) AS other, role, source, fromUnixTimestamp64Milli(toInt64(min(received_ms)), 'UTC')
FROM stage_lineage
ARRAY JOIN ['up', 'down'] AS direction
WHERE problem = '' AND (project, direction, node, other, role, source) NOT IN
    (SELECT project, toString(direction), node, other, role, source FROM {database}.lineage_edges
        WHERE (direction = 'up' AND (project, node) IN (SELECT project, child FROM stage_lineage)) OR (direction = 'down' AND (project, node) IN (SELECT project, parent FROM stage_lineage)))
GROUP BY project, direction, node, other, role, source
