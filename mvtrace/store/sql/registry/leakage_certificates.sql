-- Certificates about one of the things, or that are one of them, or all where none is given, the newest first; and the key
-- that each came under.
SELECT
    digest,
    name,
    body,
    toString(received_at) AS received,
    if(actor_label = '', actor, actor_label) AS received_by
FROM registry_entries
WHERE project = {project:String}
    AND kind = 'certificate'
    AND (
        empty({refs:Array(String)})
        OR has({refs:Array(String)}, concat('certificate:', substring(digest, 8)))
        OR hasAny(JSONExtract(body, 'train', 'Array(String)'), {refs:Array(String)})
        OR arrayExists(
            one -> has({refs:Array(String)}, JSONExtractString(one, 'ref')),
            JSONExtractArrayRaw(body, 'checked')
        )
    )
ORDER BY received_at DESC, digest
LIMIT {limit:UInt32}
