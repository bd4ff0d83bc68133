-- The rows of `spans` from the stage. Every attribute is in one of the Maps, the first value of a
-- repeated key; columns like model_served repeat some of them: those of a call are put in from
-- schemas/semconv/dialects.json. Content stays behind, its keys are
-- in content_removed; so does what a status says, which repeats an exception's message. A URL keeps
-- neither user nor query. Times outside of what a clock can say are clamped, and the row is flagged.
INSERT INTO {database}.spans
(
    project, request_id, span_id, parent_span_id, trace_id, name, kind, start_time, duration_ns, status_code, status_message, trace_state, trace_flags,
    service, environment, scope_name, scope_version, schema_url, composite_version, arm,
    {call_columns} error_type,
    attributes_string, attributes_int, attributes_double, attributes_bool, attributes_json, resource_attributes, scope_attributes,
    events, links, dropped_attributes, dropped_events, dropped_links, content_removed, flags, received_at, content_digests
)
SETTINGS {insert_settings}, query_plan_enable_optimizations = 0
WITH
    (SELECT groupArray(raw) FROM stage_values) AS nested_raws,
    (SELECT groupArray(json) FROM stage_values) AS nested_texts,
    d -> transform(toString(d), ['nan', 'inf', '-inf'], ['{"$double":"NaN"}', '{"$double":"Infinity"}', '{"$double":"-Infinity"}'],
        replaceRegexpOne(toString(d), '^(-?[0-9]+)$', '\\1.0')) AS double_text,
    (values, k, t) -> arrayFilter((v, one, type) -> type = 'content' AND has({digested_keys:Array(String)}, one), values, k, t) AS digested,
    v -> multiIf(
        v.value = 's', toJSONString(v.string_value),
        v.value = 'i', toString(v.int_value),
        v.value = 'd', double_text(v.double_value),
        v.value = 'b', if(v.bool_value, 'true', 'false'),
        v.value = 'y', concat('{"$bytes":"', base64Encode(v.bytes_value), '"}'),
        v.value = '', 'null',
        transform(concat(v.value, v.array_value, v.kvlist_value), nested_raws, nested_texts, 'null')) AS json_text,
    (event, k) -> has({content_keys:Array(String)}, k) OR has({url_keys:Array(String)}, k) OR (has({content_events:Array(String)}, event) AND NOT has({event_kept_keys:Array(String)}, k)) AS is_content,
    (event, kv) -> arrayFilter((pair, n) -> n = 1 AND NOT is_content(event, pair.key), kv, arrayEnumerateUniq(kv.key)) AS facts,
    (k, v) -> if(has({url_keys:Array(String)}, k), replaceRegexpOne(replaceRegexpOne(v, {url_user:String}, '\\1'), {url_query:String}, ''), v) AS plain_url,
    kv -> CAST((kv.key, arrayMap(v -> json_text(v), kv.value)), 'Map(LowCardinality(String), String)') AS json_map,
    time -> fromUnixTimestamp64Nano(toInt64(least(greatest(time, earliest), latest)), 'UTC') AS sane_time,
    toUInt64(1577836800000000000) AS earliest,
    CAST(attributes_string, 'Map(String, Nullable(String))') AS call_texts,
    CAST(attributes_int, 'Map(String, Nullable(Int64))') AS call_integers,
    mapConcat(CAST(attributes_double, 'Map(String, Nullable(Float64))'), CAST(attributes_int, 'Map(String, Nullable(Float64))')) AS call_numbers,
    attributes_json AS call_values{call_readings}
SELECT
    project,
    request_id,
    span_id,
    if(length(parent_id) = 8, parent_id, '') AS parent_span_id,
    trace_id,
    name,
    if(kind BETWEEN 0 AND 5, kind, 0) AS kind,
    fromUnixTimestamp64Nano(toInt64(sane_start_ns), 'UTC') AS start_time,
    if(sane_end_ns > sane_start_ns, sane_end_ns - sane_start_ns, 0) AS duration_ns,
    if(status_code BETWEEN 0 AND 2, status_code, 0) AS status_code,
    '' AS status_message,
    trace_state,
    trace_flags,
    service,
    environment,
    scope_name,
    scope_version,
    schema_url,
    if(mapContains(attributes_string, 'mvtrace.composite.version'), attributes_string['mvtrace.composite.version'], NULL) AS composite_version,
    if(mapContains(attributes_string, 'mvtrace.arm'), attributes_string['mvtrace.arm'], NULL) AS arm,
    {call_values}
    if(mapContains(attributes_string, 'error.type'), attributes_string['error.type'], NULL) AS error_type,
    mapFromArrays(arrayFilter((k, t) -> t = 's', keys, types), arrayFilter((v, t) -> t = 's', if(empty({url_keys:Array(String)}), strings, arrayMap((k, v) -> plain_url(k, v), keys, strings)), types)) AS attributes_string,
    mapFromArrays(arrayFilter((k, t) -> t = 'i', keys, types), arrayFilter((v, t) -> t = 'i', ints, types)) AS attributes_int,
    mapFromArrays(arrayFilter((k, t) -> t = 'd', keys, types), arrayFilter((v, t) -> t = 'd', doubles, types)) AS attributes_double,
    mapFromArrays(arrayFilter((k, t) -> t = 'b', keys, types), arrayFilter((v, t) -> t = 'b', bools, types)) AS attributes_bool,
    mapFromArrays(arrayFilter((k, t) -> t IN ('', 'y', 'a', 'm'), keys, types),
        arrayMap((v, t) -> multiIf(t = '', 'null', t = 'y', concat('{"$bytes":"', base64Encode(v), '"}'), transform(concat(t, v), nested_raws, nested_texts, 'null')),
            arrayFilter((v, t) -> t IN ('', 'y', 'a', 'm'), others, types), arrayFilter(t -> t IN ('', 'y', 'a', 'm'), types))) AS attributes_json,
    resource_attributes,
    scope_attributes,
    arrayMap((e, facts_of) -> (sane_time(e.time_unix_nano), e.name, facts_of), span_events, arraySlice(nested_facts, 1, length(span_events))) AS events,
    arrayMap((l, facts_of) -> (toFixedString(if(length(l.trace_id) = 16, l.trace_id, ''), 16), toFixedString(if(length(l.span_id) = 8, l.span_id, ''), 8), l.trace_state, facts_of),
        span_links, arraySlice(nested_facts, length(span_events) + 1)) AS links,
    dropped_attributes,
    dropped_events,
    dropped_links,
    arraySort(arrayDistinct(arrayConcat(
        arrayFilter(k -> has({content_keys:Array(String)}, k), keys), arrayFilter(k -> is_content('', k), arrayFlatten(span_links.attributes.key)),
        arrayFlatten(arrayMap(e -> arrayFilter(k -> is_content(e.name, k), e.attributes.key), span_events)),
        if(status_said = '', [], ['otel.status_description']), content_above))) AS content_removed,
    arrayFilter(f -> f != '', [
        if(start_ns != sane_start_ns, 'start-time-clamped', ''),
        if(end_ns NOT IN (0, sane_end_ns), 'end-time-clamped', ''),
        multiIf(end_ns = 0, 'no-end-time', sane_end_ns < sane_start_ns, 'end-before-start', ''),
        if(length(parent_id) NOT IN (0, 8), 'malformed-parent-id', ''),
        if(arrayExists(e -> e.time_unix_nano < earliest OR e.time_unix_nano > latest, span_events), 'event-time-clamped', ''),
        if(replaceAll(claimed, '-', '') NOT IN ('', lower(hex(request_id))), 'claimed-id-ignored', '')]) AS flags,
    fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC') AS received_at,
    mapFromArrays(
        arrayFilter((k, t) -> t = 'content' AND has({digested_keys:Array(String)}, k), keys, types),
        arrayMap((kind, s, i, d, b, other) -> concat({digest_prefix:String}, lower(hex(HMAC('sha256', multiIf(
                kind = 's', s, kind = 'i', toString(i), kind = 'd', double_text(d), kind = 'b', if(b, 'true', 'false'),
                kind = 'y', concat('{"$bytes":"', base64Encode(other), '"}'), kind = '', 'null', transform(concat(toString(kind), other), nested_raws, nested_texts, 'null')), digest_key)))),
            digested(kinds, keys, types), digested(strings, keys, types), digested(ints, keys, types), digested(doubles, keys, types), digested(bools, keys, types), digested(others, keys, types))) AS content_digests
FROM
(
    SELECT
        *,
        received_ms * 1000000 + 86400000000000 AS latest,
        least(greatest(start_ns, toUInt64(1577836800000000000)), latest) AS sane_start_ns,
        least(greatest(end_ns, toUInt64(1577836800000000000)), latest) AS sane_end_ns,
        status_message AS status_said,
        arrayConcat(arrayMap(e -> json_map(facts(e.name, e.attributes)), span_events), arrayMap(l -> json_map(facts('', l.attributes)), span_links)) AS nested_facts,
        arrayMap((k, n, t) -> multiIf(n > 1, 'repeated', has({content_keys:Array(String)}, k), 'content', toString(t)), keys, arrayEnumerateUniq(keys), kinds) AS types
    FROM stage_spans
    INNER JOIN stage_ids USING (project, trace_id, claimed)
    INNER JOIN stage_scopes USING (resource, scope)
    WHERE is_sound AND month IN {months:Array(UInt32)}
)
