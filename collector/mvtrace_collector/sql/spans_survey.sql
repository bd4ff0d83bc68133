-- What Python has to look into before the rows leave the stage: each different resource, scope,
-- attribute key and nested value once.
SELECT
    groupUniqArray((base64Encode(resource), base64Encode(scope))) AS scopes,
    groupUniqArrayArray(arrayConcat(keys, arrayFlatten(span_events.attributes.key), arrayFlatten(span_links.attributes.key))) AS attribute_keys,
    groupUniqArrayArray(span_events.name) AS event_names,
    groupUniqArrayArray(arrayConcat(
        arrayMap((t, v) -> concat(t, base64Encode(v)), arrayFilter(t -> t IN ('a', 'm'), kinds), arrayFilter((v, t) -> t IN ('a', 'm'), others, kinds)),
        arrayMap(v -> concat(v.value, base64Encode(concat(v.array_value, v.kvlist_value))),
            arrayFilter(v -> v.value IN ('a', 'm'), arrayConcat(arrayFlatten(span_events.attributes.value), arrayFlatten(span_links.attributes.value)))))) AS nested,
    uniqExactIf((project, trace_id, span_id), is_sound) AS sound,
    countIf(NOT is_sound) AS malformed
FROM stage_spans
SETTINGS max_threads = 1
