-- Which of these versions are registered, and by what name.
SELECT DISTINCT version, name
FROM composites
WHERE project = {project:String} AND version IN {versions:Array(String)}
