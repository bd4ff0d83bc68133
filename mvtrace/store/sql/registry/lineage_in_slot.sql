-- Components whose digest starts so and that a version has in the slot. One more than is shown.
SELECT DISTINCT substring(part.3, 8) AS component
FROM composites
ARRAY JOIN arrayZip(component_kinds, component_names, component_digests) AS part
WHERE project = {project:String}
    AND concat(part.1, '/', part.2) = {slot:String}
    AND startsWith(part.3, concat('sha256:', {prefix:String}))
ORDER BY component
LIMIT 21
