-- Texts by their digests: a judge's prompt, in pieces where it is long.
SELECT DISTINCT digest, content
FROM contents
WHERE project = {project:String} AND digest IN {digests:Array(String)}
