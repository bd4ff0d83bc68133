-- Raw OTLP in, one row per span out, nothing judged yet.
INSERT INTO stage_spans
SELECT
    project, received_ms, seq,
    length(sp.trace_id) = 16 AND length(sp.span_id) = 8 AND sp.trace_id != unhex('00000000000000000000000000000000') AND sp.span_id != unhex('0000000000000000'),
    lower(sp.attributes.value.string_value[indexOf(sp.attributes.key, 'mvtrace.request.id')]),
    resource, scope, schema_url,
    sp.trace_id, sp.span_id, sp.parent_span_id, sp.trace_state, sp.flags,
    sp.name, sp.kind, sp.start_time_unix_nano, sp.end_time_unix_nano, sp.status.code, sp.status.message,
    sp.attributes.key, sp.attributes.value.value, sp.attributes.value.string_value, sp.attributes.value.int_value,
    sp.attributes.value.double_value, sp.attributes.value.bool_value,
    arrayMap((a, m, y) -> concat(a, m, y), sp.attributes.value.array_value, sp.attributes.value.kvlist_value, sp.attributes.value.bytes_value),
    sp.events, sp.links, sp.dropped_attributes_count, sp.dropped_events_count, sp.dropped_links_count
FROM
(
    SELECT project, received_ms, seq, resource, ss.scope AS scope, ss.schema_url AS schema_url, arrayJoin(ss.spans) AS sp
    FROM
    (
        SELECT project, received_ms, seq, rs.resource AS resource, arrayJoin(rs.scope_spans) AS ss
        FROM (SELECT project, received_ms, seq, arrayJoin(traces.resource_spans) AS rs FROM {source})
    )
)
SETTINGS max_threads = 1, max_insert_threads = 1, query_plan_enable_optimizations = 0, input_format_protobuf_oneof_presence = 1,
    format_schema_source = 'string', format_schema_message_name = 'Envelope', format_schema = {schema}
