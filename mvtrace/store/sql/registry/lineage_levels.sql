-- The edges of some nodes in one direction, and of what these lead to: two steps of a walk at once.
SELECT node, other, role, source
FROM lineage_edges
WHERE project = {project:String} AND direction = {direction:String} AND node IN
(
    SELECT arrayJoin({nodes:Array(String)})
    UNION ALL
    SELECT other
    FROM lineage_edges
    WHERE project = {project:String} AND direction = {direction:String} AND node IN {nodes:Array(String)}
)
LIMIT {limit:UInt32}
