-- Requests that share an id with one: its trace first, so that an id which very many requests carry
-- cannot crowd it out. Which id has a hash, the caller compares.
SELECT
    kind,
    alias,
    request_id
FROM request_aliases
WHERE project = {project:String}
    AND alias_hash = {trace_hash:UInt64}
LIMIT 400
UNION ALL
SELECT
    kind,
    alias,
    request_id
FROM request_aliases
WHERE project = {project:String}
    AND alias_hash IN {hashes:Array(UInt64)}
LIMIT 400
