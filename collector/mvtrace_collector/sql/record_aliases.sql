-- What else a request is called, by its own record; an erased one has its trace id alone.
INSERT INTO {database}.request_aliases (project, alias_hash, kind, alias, request_id, received_at)
SETTINGS {insert_settings}
SELECT project, sipHash64(alias), kind, alias, request_id, fromUnixTimestamp64Milli(toInt64(min(received_ms)), 'UTC')
FROM
(
    SELECT
        project, received_ms, toFixedString(request_id, 16) AS request_id,
        arrayJoin(arrayConcat(
            [('trace_id', ifNull(parsed.trace_id, ''))],
            arrayMap(a -> (ifNull(a.kind, ''), ifNull(a.value, '')), parsed.aliases),
            arrayMap(id -> ('response_id', ifNull(id, '')), parsed.calls.response_id))) AS name,
        name.1 AS kind,
        name.2 AS alias
    FROM stage_records
    WHERE row IN (SELECT row FROM stage_verdicts WHERE problem = '') AND month IN {months:Array(UInt32)}
)
WHERE kind != '' AND alias != '' AND (kind != 'trace_id' OR match(alias, '^[0-9a-f]{32}$'))
    AND (kind = 'trace_id' OR (project, request_id) NOT IN (SELECT project, request_id FROM {database}.erasures WHERE reach != 'subject'))
GROUP BY project, kind, alias, request_id
