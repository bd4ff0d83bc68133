-- Raw OTLP in, one row per known event out; others were reported to their sender by the receiver.
-- `row` keeps the order in which they came: the first writer of a request id wins.
INSERT INTO stage_logs
SELECT
    project, received_ms, seq, rowNumberInAllBlocks(),
    if(startsWith(name, 'gen_ai.'), substring(SHA256(concat(lr.trace_id, lr.span_id, toString(time_ns), '\n', name, '\n', toString(lr.attributes), toString(lr.body))), 1, 16), toFixedString('', 16)) AS id,
    lower(lr.attributes.value.string_value[indexOf(lr.attributes.key, 'mvtrace.request.id')]),
    if(lr.event_name != '', lr.event_name, lr.attributes.value.string_value[indexOf(lr.attributes.key, 'event.name')]) AS name,
    resource, scope, if(length(lr.trace_id) = 16 AND lr.trace_id != unhex(repeat('00', 16)), lr.trace_id, id), lr.trace_id, lr.span_id,
    if(lr.time_unix_nano != 0, lr.time_unix_nano, lr.observed_time_unix_nano) AS time_ns,
    lr.severity_number, lr.severity_text, lr.body.string_value, lr.body.value, lr.attributes, actor, actor_label, grants, ahead_ms
FROM
(
    SELECT project, received_ms, seq, actor, actor_label, grants, ahead_ms, resource, sl.scope AS scope, arrayJoin(sl.log_records) AS lr
    FROM
    (
        SELECT project, received_ms, seq, actor, actor_label, grants, ahead_ms, rl.resource AS resource, arrayJoin(rl.scope_logs) AS sl
        FROM (SELECT project, received_ms, seq, actor, actor_label, grants, ahead_ms, arrayJoin(logs.resource_logs) AS rl FROM {source})
    )
)
WHERE startsWith(name, 'gen_ai.') OR name IN ('mvtrace.request', 'mvtrace.component', 'mvtrace.composite', 'mvtrace.content', 'mvtrace.entry', 'mvtrace.producer', 'mvtrace.payload',
    'mvtrace.deployment', 'mvtrace.retention', 'mvtrace.verdict', 'mvtrace.feedback')
SETTINGS max_threads = 1, max_insert_threads = 1, query_plan_enable_optimizations = 0, input_format_protobuf_oneof_presence = 1,
    format_schema_source = 'string', format_schema_message_name = 'Envelope', format_schema = {schema}
