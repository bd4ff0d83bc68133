-- What the requests of this segment's traces are called by their trace, where the store does not
-- have that yet.
INSERT INTO {database}.request_aliases (project, alias_hash, kind, alias, request_id, received_at)
SETTINGS {insert_settings}
SELECT project, sipHash64(alias), 'trace_id', lower(hex(trace_id)) AS alias, request_id, fromUnixTimestamp64Milli(toInt64(min(first_ms)), 'UTC')
FROM stage_ids
WHERE is_new AND month IN {months:Array(UInt32)}
GROUP BY project, alias, request_id
