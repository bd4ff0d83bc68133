-- Registered pieces of text by their digests.
SELECT DISTINCT digest, content
FROM contents
WHERE project = {project:String} AND digest IN {digests:Array(String)}
