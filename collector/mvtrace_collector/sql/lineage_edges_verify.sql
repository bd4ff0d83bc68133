SELECT uniqExact((project, direction, node, other, role, source)) AS found
FROM {database}.lineage_edges
WHERE (direction = 'up' AND (project, node, other, role, source) IN (SELECT project, child, parent, role, source FROM stage_lineage WHERE problem = ''))
    OR (direction = 'down' AND (project, node, other, role, source) IN (SELECT project, parent, child, role, source FROM stage_lineage WHERE problem = ''))
