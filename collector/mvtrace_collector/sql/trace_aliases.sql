-- What a trace, and an answer of a provider, is called by its request: only what is not stored yet.
INSERT INTO {database}.request_aliases (project, alias_hash, kind, alias, request_id, received_at)
SETTINGS {insert_settings}
WITH found AS
(
    SELECT project, 'trace_id' AS kind, lower(hex(trace_id)) AS alias, request_id, first_ms
    FROM stage_ids
    WHERE is_trace AND month IN {months:Array(UInt32)}
    UNION ALL
    SELECT project, 'response_id' AS kind, strings[indexOf(keys, 'gen_ai.response.id')] AS alias, request_id, first_ms
    FROM stage_spans
    INNER JOIN stage_ids USING (project, trace_id, claimed)
    WHERE month IN {months:Array(UInt32)} AND has(keys, 'gen_ai.response.id') AND alias != ''
)
SELECT project, sipHash64(alias), kind, alias, request_id, fromUnixTimestamp64Milli(toInt64(min(first_ms)), 'UTC')
FROM found
WHERE (project, kind, alias, request_id) NOT IN
(
    SELECT project, kind, alias, request_id
    FROM {database}.request_aliases
    WHERE (project, alias_hash) IN (SELECT project, sipHash64(alias) FROM found)
)
GROUP BY project, kind, alias, request_id
