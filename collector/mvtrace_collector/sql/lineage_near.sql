-- The stored edges of some nodes in one direction.
SELECT DISTINCT project, node, other
FROM {database}.lineage_edges
WHERE direction = {direction:String} AND (project, node) IN (SELECT project, node FROM stage_lineage_near)
LIMIT {limit:UInt64}
SETTINGS max_threads = 1
