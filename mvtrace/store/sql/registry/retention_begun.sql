-- Collections that were begun and have not ended: the last that was said of a place is collect.
SELECT event, said, seq, body, actor, actor_label, received_ms
FROM
(
    SELECT
        lower(hex(event_id)) AS event,
        toUnixTimestamp64Nano(at) AS said,
        seq,
        body,
        actor,
        actor_label,
        toUnixTimestamp64Milli(received_at) AS received_ms,
        JSONExtractString(body, 'action') AS action
    FROM governance_events
    WHERE project = {project:String}
        AND name = 'mvtrace.retention'
        AND action IN ('collect', 'collected', 'release', 'restored')
    ORDER BY received_ms DESC, seq DESC, said DESC, event DESC
    LIMIT 1 BY JSONExtractString(body, 'artifact'), JSONExtractString(body, 'uri')
)
WHERE action = 'collect'
