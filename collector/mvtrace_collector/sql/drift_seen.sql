-- Which slots the requests of some minutes met with a value they should not have had: what their
-- records note as drift, and of slots that nobody declared the values that are followed. Only records
-- that note something are parsed, and those of services with a value that is followed. A change that
-- the same record notes as drift from something pinned is `pinned`: it is told by that drift already. What is longer than any that is
-- captured is somebody's invention, and left out.
SELECT service, environment, seen.1 AS kind, seen.2 AS name, seen.3 AS what, seen.4 AS expected, seen.5 AS observed,
    intDiv(began, 60000) AS minute, lower(hex(min(request_id))) AS first, lower(hex(max(request_id))) AS last, count() AS requests
FROM
(
    SELECT request_id, service, environment, reinterpretAsUInt64(reverse(substring(request_id, 1, 6))) AS began,
        arrayJoin(arrayDistinct(arrayConcat(
            arrayMap(d -> (d.kind, d.name,
                    if(d.what = 'changed' AND arrayExists(o -> o.kind = d.kind AND o.name = d.name AND o.what NOT IN ('changed', 'volatile'), notes), 'pinned', d.what),
                    d.expected, d.observed),
                arrayFilter(d -> d.what NOT IN ('', 'met', 'pinned')
                    AND length(d.kind) + length(d.what) < 200 AND length(d.name) + length(d.expected) + length(d.observed) < 4000, notes)),
            arrayMap(o -> (o.kind, o.name, 'met', '', o.digest),
                arrayFilter(o -> has({followed:Array(String)}, concat(service, '\x1f', environment, '\x1f', o.kind, '\x1f', o.name, '\x1f', o.digest)),
                    JSONExtract(record, 'observed', 'Array(Tuple(kind String, name String, digest String))')))))) AS seen
    FROM
    (
        SELECT request_id, service, environment, record,
            JSONExtract(record, 'drift', 'Array(Tuple(kind String, name String, what String, expected String, observed String))') AS notes
        FROM {database}.requests
        WHERE project = {project:String}
            AND request_id >= unhex({first:String})
            AND request_id <= unhex({last:String})
            AND (drift > 0 OR has({places:Array(String)}, concat(service, '\x1f', environment)))
        ORDER BY request_id, revision DESC
        LIMIT 1 BY request_id
    )
)
GROUP BY service, environment, kind, name, what, expected, observed, minute
ORDER BY minute, service, environment, kind, name, what, expected, observed
LIMIT {limit:UInt32}
