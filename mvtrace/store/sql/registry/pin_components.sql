-- Bodies of components by their digests.
SELECT DISTINCT digest, body
FROM components
WHERE project = {project:String} AND digest IN {digests:Array(String)}
