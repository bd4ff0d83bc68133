-- The newest looks at one comparison: which plan each followed, and which looks it went on from.
SELECT
    lower(hex(event_id)) AS event,
    tupleElement(said, 'digest') AS digest,
    tupleElement(said, 'plan_digest') AS plan_digest,
    tupleElement(said, 'before') AS before,
    JSONExtractInt(body, 'sufficient', 'arms', 'until') AS until
FROM
(
    SELECT
        event_id,
        at,
        body,
        JSONExtract(body, 'Tuple(baseline String, candidate String, by String, service String, environment String, rollout String, since Int64, digest String, plan_digest String, before Array(String))') AS said
    FROM governance_events
    WHERE project = {project:String} AND name = 'mvtrace.verdict'
)
WHERE tupleElement(said, 'baseline') = {baseline:String}
    AND tupleElement(said, 'candidate') = {candidate:String}
    AND tupleElement(said, 'by') = {by:String}
    AND tupleElement(said, 'service') = {service:String}
    AND tupleElement(said, 'environment') = {environment:String}
    AND tupleElement(said, 'rollout') = {rollout:String}
    AND tupleElement(said, 'since') = {since:Int64}
    AND digest != ''
    AND until <= {until:Int64}
ORDER BY until DESC, event
LIMIT 1 BY event
LIMIT {limit:UInt32}
