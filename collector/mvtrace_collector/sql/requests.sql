-- The rows of `requests` from the stage. The record's bytes are kept as they came; what is absent
-- from them is NULL here, and 0 stays 0.
INSERT INTO {database}.requests
(
    project, request_id, revision, record, record_digest, producer_id, sequence, received_at, state, outcome,
    started_at, ended_at, duration_ns, first_byte_ns, status_code, error_type, service, environment, protocol, method, route,
    trace_id, span_id, parent_request_id, conversation_id, composite_version, composite_name, arm,
    rollout, unit, planned_share,
    models_requested, models_served, index_snapshots, routes_chosen, finish_reasons, calls, input_tokens, output_tokens, drift
)
SETTINGS {insert_settings}
WITH
    text -> if(match(ifNull(text, ''), '^[0-9]{1,19}$'), toUInt64OrNull(text), NULL) AS nanos,
    ns -> fromUnixTimestamp64Nano(toInt64(least(greatest(ns, toUInt64(1577836800000000000)), received_ms * 1000000 + 86400000000000)), 'UTC') AS sane_time,
    (later, earlier) -> if(later >= earlier, later - earlier, NULL) AS elapsed,
    names -> arraySort(arrayDistinct(arrayMap(n -> assumeNotNull(n), arrayFilter(n -> n IS NOT NULL, names)))) AS distinct_names,
    counts -> if(arrayExists(n -> n IS NOT NULL, counts), arraySum(arrayMap(n -> greatest(ifNull(n, 0), 0), counts)), NULL) AS total
SELECT
    project,
    request_id,
    revision,
    body,
    digest,
    producer_id,
    toUInt64(assumeNotNull(parsed.sequence)),
    fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC'),
    assumeNotNull(parsed.state),
    parsed.outcome,
    sane_time(assumeNotNull(nanos(parsed.started_at))),
    if(nanos(parsed.ended_at) IS NULL, NULL, sane_time(assumeNotNull(nanos(parsed.ended_at)))),
    elapsed(nanos(parsed.ended_at), nanos(parsed.started_at)),
    elapsed(nanos(parsed.first_byte_at), nanos(parsed.started_at)),
    if(parsed.status_code BETWEEN 0 AND 65535, parsed.status_code, NULL),
    parsed.error_type,
    ifNull(parsed.service, ''),
    ifNull(parsed.environment, ''),
    ifNull(parsed.protocol, ''),
    parsed.method,
    parsed.route,
    if(match(ifNull(parsed.trace_id, ''), '^[0-9a-f]{32}$'), toFixedString(unhex(assumeNotNull(parsed.trace_id)), 16), NULL),
    if(match(ifNull(parsed.span_id, ''), '^[0-9a-f]{16}$'), toFixedString(unhex(assumeNotNull(parsed.span_id)), 8), NULL),
    if(match(ifNull(parsed.parent_request_id, ''), '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'), toFixedString(unhex(replaceAll(assumeNotNull(parsed.parent_request_id), '-', '')), 16), NULL),
    parsed.conversation_id,
    parsed.composite_version,
    parsed.composite_name,
    parsed.arm,
    if(lengthUTF8(ifNull(parsed.assignment.rollout, '')) <= 128, ifNull(parsed.assignment.rollout, ''), ''),
    toFixedString(if(match(ifNull(parsed.assignment.unit, ''), '^[0-9a-f]{32}$'), unhex(assumeNotNull(parsed.assignment.unit)), ''), 16),
    if(parsed.assignment.share BETWEEN 0 AND 1, round(parsed.assignment.share, 6), NULL),
    distinct_names(parsed.calls.model_requested),
    distinct_names(parsed.calls.model_served),
    distinct_names(parsed.index_snapshots.digest),
    distinct_names(parsed.router_decisions.chosen),
    distinct_names(parsed.calls.finish_reason),
    length(parsed.calls),
    total(parsed.calls.usage.input_tokens),
    total(parsed.calls.usage.output_tokens),
    JSONLength(body, 'drift')
FROM stage_records
WHERE row IN (SELECT row FROM stage_verdicts WHERE is_new) AND month IN {months:Array(UInt32)}
