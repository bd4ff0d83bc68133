-- Requests that carry an id with this hash; which id it is, the caller compares.
-- The key is read backwards and ends with the limit: of one id, the newest requests come first.
SELECT
    kind,
    alias,
    request_id
FROM request_aliases
WHERE project = {project:String}
    AND alias_hash = {hash:UInt64}
ORDER BY
    alias_hash DESC,
    kind DESC,
    alias DESC,
    request_id DESC
LIMIT 1001
