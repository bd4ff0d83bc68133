-- The gen_ai.* events from the stage, without content; see spans.sql for the values.
INSERT INTO {database}.events
(
    project, request_id, event_id, time, name, trace_id, span_id, service, environment, scope_name, severity_number, severity_text,
    attributes, resource_attributes, content_removed, received_at
)
SETTINGS {insert_settings}
WITH
    (SELECT groupArray(raw) FROM stage_values) AS nested_raws,
    (SELECT groupArray(json) FROM stage_values) AS nested_texts,
    v -> multiIf(
        v.value = 's', toJSONString(v.string_value),
        v.value = 'i', toString(v.int_value),
        v.value = 'd', transform(toString(v.double_value), ['nan', 'inf', '-inf'], ['{"$double":"NaN"}', '{"$double":"Infinity"}', '{"$double":"-Infinity"}'],
            replaceRegexpOne(toString(v.double_value), '^(-?[0-9]+)$', '\\1.0')),
        v.value = 'b', if(v.bool_value, 'true', 'false'),
        v.value = 'y', concat('{"$bytes":"', base64Encode(v.bytes_value), '"}'),
        v.value = '', 'null',
        transform(concat(v.value, v.array_value, v.kvlist_value), nested_raws, nested_texts, 'null')) AS json_text,
    k -> has({event_content:Array(String)}, concat(event_name, char(31), k)) AS is_content
SELECT
    project,
    request_id,
    event_id,
    fromUnixTimestamp64Nano(toInt64(least(greatest(time_ns, toUInt64(1577836800000000000)), received_ms * 1000000 + 86400000000000)), 'UTC'),
    event_name,
    toFixedString(if(length(given_trace_id) = 16, given_trace_id, ''), 16),
    toFixedString(if(length(span_id) = 8, span_id, ''), 8),
    service,
    environment,
    scope_name,
    if(severity_number BETWEEN 0 AND 24, severity_number, 0),
    severity_text,
    CAST((facts.key, arrayMap(v -> json_text(v), facts.value)), 'Map(LowCardinality(String), String)'),
    resource_attributes,
    arraySort(arrayDistinct(arrayConcat(arrayFilter(k -> is_content(k), attributes.key), if(body_kind = '', [], ['body']), content_above))),
    fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC')
FROM
(
    SELECT *, arrayFilter((pair, n) -> n = 1 AND NOT is_content(pair.key), attributes, arrayEnumerateUniq(attributes.key)) AS facts
    FROM stage_logs
    INNER JOIN stage_ids USING (project, trace_id, claimed)
    INNER JOIN stage_scopes USING (resource, scope)
    WHERE startsWith(event_name, 'gen_ai.') AND month IN {months:Array(UInt32)}
)
