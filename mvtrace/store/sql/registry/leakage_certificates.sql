-- Certificates about one of the things, or that are one of them, or all where none is given, the newest first; and the key
-- that each came under. Where there are more about things than the limit, those that found something are among them.
SELECT digest, name, body, toString(came) AS received, received_by
FROM
(
    SELECT
        digest,
        name,
        body,
        received_at AS came,
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
    ORDER BY
        notEmpty({refs:Array(String)}) AND (
            JSONExtractBool(body, 'made_of_eval')
            OR arrayExists(
                one -> JSONExtractUInt(one, 'found') > 0, JSONExtractArrayRaw(body, 'checked')
            )
        ) DESC,
        came DESC,
        digest
    LIMIT {limit:UInt32}
)
ORDER BY came DESC, digest
