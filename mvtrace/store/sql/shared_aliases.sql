-- Requests that carry an id with one of these hashes, newest first; which id, the caller compares.
SELECT
    kind,
    alias,
    request_id
FROM request_aliases
WHERE project = {project:String}
    AND alias_hash IN {hashes:Array(UInt64)}
ORDER BY request_id DESC
LIMIT 4000
