-- The first request between two others that met a slot otherwise: without the note, or, where nobody
-- declared it, with another value. The key is read in its order, and no further than needed.
SELECT lower(hex(request_id)) AS request
FROM {database}.requests
WHERE project = {project:String}
    AND request_id > unhex({after:String})
    AND request_id < unhex({before:String})
    AND service = {service:String}
    AND environment = {environment:String}
    AND state = 'finished'
    AND if({what:String} = 'fingerprint',
        arrayExists(c -> c.component = concat({kind:String}, '/', {name:String}) AND c.fingerprint != '',
            JSONExtract(record, 'calls', 'Array(Tuple(component String, fingerprint String))')),
        arrayExists(o -> o.kind = {kind:String} AND o.name = {name:String},
            JSONExtract(record, 'observed', 'Array(Tuple(kind String, name String))')))
    AND NOT if({what:String} = 'changed',
        arrayExists(o -> o.kind = {kind:String} AND o.name = {name:String} AND o.digest = {observed:String},
            JSONExtract(record, 'observed', 'Array(Tuple(kind String, name String, digest String))')),
        arrayExists(d -> d.kind = {kind:String} AND d.name = {name:String} AND d.what = {what:String} AND d.expected = {expected:String}
                AND ({observed:String} = '*' OR d.observed = {observed:String}),
            JSONExtract(record, 'drift', 'Array(Tuple(kind String, name String, what String, expected String, observed String))')))
ORDER BY request_id
LIMIT 1
