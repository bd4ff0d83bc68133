-- The edges of some nodes in one direction: one step of a walk. Told twice, by a part that is not
-- merged yet or by a second derivation, an edge has two rows.
SELECT node, other, role, source
FROM lineage_edges
WHERE project = {project:String} AND direction = {direction:String} AND node IN {nodes:Array(String)}
LIMIT {limit:UInt32}
