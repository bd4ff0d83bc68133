-- What was made from what, as derivations say: all, or what was made from some things in one step.
SELECT DISTINCT
    node AS parent,
    other AS child
FROM lineage_edges
WHERE project = {project:String}
    AND direction = 'down'
    AND source != ''
    AND (empty({parents:Array(String)}) OR node IN {parents:Array(String)})
