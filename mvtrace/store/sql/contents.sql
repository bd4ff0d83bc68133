-- Pieces of content hashed again where they lie, so that only digests travel.
SELECT
    digest,
    SHA256(concat('mvtrace.content/1\n', content)) AS recomputed,
    length(content) AS size
FROM contents
WHERE project = {project:String}
    AND digest IN {digests:Array(String)}
