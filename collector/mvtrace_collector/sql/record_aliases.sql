-- What else a request is called, by its own record: only what is not stored yet.
INSERT INTO {database}.request_aliases (project, alias_hash, kind, alias, request_id, received_at)
SETTINGS {insert_settings}
WITH found AS
(
    SELECT DISTINCT project, name.1 AS kind, name.2 AS alias, toFixedString(request_id, 16) AS request_id, received_ms
    FROM
    (
        SELECT
            project, request_id, received_ms,
            arrayJoin(arrayConcat(
                [('trace_id', ifNull(parsed.trace_id, ''))],
                arrayMap(a -> (ifNull(a.kind, ''), ifNull(a.value, '')), parsed.aliases),
                arrayMap(id -> ('response_id', ifNull(id, '')), parsed.calls.response_id))) AS name
        FROM stage_records
        WHERE problem = '' AND month IN {months:Array(UInt32)}
    )
    WHERE kind != '' AND alias != '' AND (kind != 'trace_id' OR match(alias, '^[0-9a-f]{32}$'))
)
SELECT project, sipHash64(alias), kind, alias, request_id, fromUnixTimestamp64Milli(toInt64(min(received_ms)), 'UTC')
FROM found
WHERE (project, kind, alias, request_id) NOT IN
(
    SELECT project, kind, alias, request_id
    FROM {database}.request_aliases
    WHERE (project, alias_hash) IN (SELECT project, sipHash64(alias) FROM found)
)
GROUP BY project, kind, alias, request_id
