-- Scores that the store does not have yet.
INSERT INTO {database}.scores (project, request_id, name, scorer, event_id, source, voter, value, label, scored_at, actor, received_at)
SETTINGS {insert_settings}
SELECT
    project, toFixedString(request_id, 16), name, scorer, event_id, source, voter, value, label,
    fromUnixTimestamp64Nano(toInt64(scored_ns), 'UTC'), actor, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC')
FROM stage_scores
WHERE flaw = '' AND month IN {months:Array(UInt32)}
    AND (project, event_id) NOT IN
    (
        SELECT project, event_id FROM {database}.scores
        WHERE (project, request_id) IN (SELECT project, toFixedString(request_id, 16) FROM stage_scores WHERE flaw = '')
    )
