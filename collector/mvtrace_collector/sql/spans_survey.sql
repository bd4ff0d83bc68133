-- What Python has to look into before the rows leave the stage: each different resource, scope,
-- attribute key and nested value once.
SELECT
    count() AS spans,
    groupUniqArray((base64Encode(resource), base64Encode(scope))) AS scopes,
    groupUniqArrayArray(arrayConcat(keys, arrayFlatten(span_events.attributes.key), arrayFlatten(span_links.attributes.key))) AS keys,
    groupUniqArrayArray(arrayConcat(
        arrayMap((t, v) -> concat(t, base64Encode(v)), arrayFilter(t -> t IN ('a', 'm'), kinds), arrayFilter((v, t) -> t IN ('a', 'm'), others, kinds)),
        arrayMap(v -> concat(v.value, base64Encode(concat(v.array_value, v.kvlist_value))),
            arrayFilter(v -> v.value IN ('a', 'm'), arrayConcat(arrayFlatten(span_events.attributes.value), arrayFlatten(span_links.attributes.value)))))) AS nested,
    countIf(length(trace_id) != 16 OR length(span_id) != 8 OR trace_id = unhex(repeat('00', 16)) OR span_id = unhex(repeat('00', 8))) AS malformed
FROM stage_spans
SETTINGS max_threads = 1
