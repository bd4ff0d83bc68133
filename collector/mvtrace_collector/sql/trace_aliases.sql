-- What the requests of this segment's traces are called: by their trace, where the store does not
-- have that yet, and by the ids that providers gave their answers.
INSERT INTO {database}.request_aliases (project, alias_hash, kind, alias, request_id, received_at)
SETTINGS {insert_settings}
SELECT project, sipHash64(alias), kind, alias, request_id, fromUnixTimestamp64Milli(toInt64(min(first_ms)), 'UTC')
FROM
(
    SELECT project, 'trace_id' AS kind, lower(hex(trace_id)) AS alias, request_id, first_ms
    FROM stage_ids
    WHERE is_new AND month IN {months:Array(UInt32)}
    UNION ALL
    SELECT project, 'response_id' AS kind, strings[indexOf(keys, 'gen_ai.response.id')] AS alias, request_id, first_ms
    FROM stage_spans
    INNER JOIN stage_ids USING (project, trace_id, claimed)
    WHERE is_sound AND has(keys, 'gen_ai.response.id') AND alias != '' AND month IN {months:Array(UInt32)}
)
GROUP BY project, kind, alias, request_id
