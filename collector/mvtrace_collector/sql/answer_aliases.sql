-- What the requests of this segment's traces are called by the ids that providers gave their answers;
-- an erased one is not.
INSERT INTO {database}.request_aliases (project, alias_hash, kind, alias, request_id, received_at)
SETTINGS {insert_settings}
WITH
    (SELECT groupArray(raw) FROM stage_values) AS nested_raws,
    (SELECT groupArray(json) FROM stage_values) AS nested_texts,
    CAST((arrayFilter((k, kind) -> kind = 's', keys, kinds), arrayFilter((v, kind) -> kind = 's', strings, kinds)), 'Map(String, Nullable(String))') AS call_texts,
    CAST(map(), 'Map(String, Nullable(Int64))') AS call_integers,
    CAST(map(), 'Map(String, String)') AS call_values{call_readings}
SELECT project, sipHash64(alias), 'response_id', ifNull({response_id}, '') AS alias, request_id, fromUnixTimestamp64Milli(toInt64(min(first_ms)), 'UTC')
FROM stage_spans
INNER JOIN stage_ids USING (project, trace_id, claimed)
WHERE is_sound AND alias != '' AND month IN {months:Array(UInt32)}
    AND (project, request_id) NOT IN (SELECT project, request_id FROM {database}.erasures WHERE reach != 'subject')
GROUP BY project, alias, request_id
