-- Which versions belong to some experiments, and what they are called.
SELECT node AS experiment, replaceOne(other, 'composite:', '') AS version, min(source) AS source, formatDateTime(min(lineage_edges.received_at), '%Y-%m-%dT%H:%i:%SZ') AS since
FROM lineage_edges
WHERE project = {project:String}
    AND direction = 'down'
    AND node IN {experiments:Array(String)}
    AND role = 'experiment'
    AND startsWith(other, 'composite:')
GROUP BY experiment, version
ORDER BY experiment, since, version
LIMIT 10000
