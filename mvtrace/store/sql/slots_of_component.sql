-- The slots in which composite versions hold a component; an empty text stands for any value.
SELECT DISTINCT
    part.1 AS kind,
    part.2 AS name,
    part.3 AS digest
FROM
(
    SELECT arrayJoin(arrayZip(component_kinds, component_names, component_digests)) AS part
    FROM composites
    WHERE project = {project:String}
)
WHERE ({kind:String} = '' OR part.1 = {kind:String})
    AND ({name:String} = '' OR part.2 = {name:String})
    AND startsWith(part.3, {digest:String})
LIMIT 1000
