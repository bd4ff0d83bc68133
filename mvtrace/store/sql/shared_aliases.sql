-- Requests that share an id with one, in the months around it: of every part the engine has to look
-- at, it reads a granule an id. Which id has a hash, the caller compares.
SELECT
    kind,
    alias,
    request_id
FROM request_aliases
WHERE project = {project:String}
    AND _partition_id IN {months:Array(String)}
    AND alias_hash IN {hashes:Array(UInt64)}
LIMIT {limit:UInt32}
