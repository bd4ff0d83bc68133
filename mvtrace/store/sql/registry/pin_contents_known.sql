-- Which pieces of text are registered.
SELECT DISTINCT digest
FROM contents
WHERE project = {project:String} AND digest IN {digests:Array(String)}
