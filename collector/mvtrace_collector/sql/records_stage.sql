-- A record can be evidence only if it is JSON with the fields that identify it. Whether another was
-- there before it is judged next, by ids alone.
-- unhex(hex(…)) is how a FixedString becomes text whole: toString() and concat() drop zero bytes
-- at its end.
INSERT INTO stage_records
WITH
    text -> match(text, '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS is_uuid7,
    text -> match(text, '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$') AS is_uuid
SELECT
    project, received_ms, seq, row, body, digest, request_id, producer_id, revision,
    if(flaw = '', toYYYYMM(fromUnixTimestamp64Milli(toInt64(id_ms), 'UTC')), 0) AS month,
    flaw, fromUnixTimestamp64Milli(least(toInt64(least(id_ms, received_ms + 86400000)) - ahead_ms, toInt64(received_ms)), 'UTC'), parsed
FROM
(
    SELECT
        project, received_ms, ahead_ms, seq, row, body, parsed,
        unhex(hex(SHA256(concat('mvtrace.record/1\n', body)))) AS digest,
        ifNull(parsed.request_id, '') AS id_text,
        ifNull(parsed.producer_id, '') AS producer_text,
        toUInt64(greatest(ifNull(parsed.revision, 0), 0)) AS revision,
        if(is_uuid7(id_text), unhex(replaceAll(id_text, '-', '')), '') AS request_id,
        if(is_uuid(producer_text), unhex(replaceAll(producer_text, '-', '')), '') AS producer_id,
        reinterpretAsUInt64(reverse(substring(request_id, 1, 6))) AS id_ms,
        multiIf(
            body_kind != 's' OR NOT isValidJSON(body) OR JSONType(body) != 'Object', 'the body is no JSON object',
            ifNull(parsed.schema_version, 0) < 1, 'schema_version is missing',
            request_id = '', concat('request_id is ', toJSONString(left(id_text, 80)), ', not a UUIDv7'),
            id_ms < 1577836800000 OR id_ms > received_ms + 86400000, concat('the time in request_id ', id_text, ' cannot be'),
            revision < 1, 'revision is missing',
            producer_id = '', concat('producer_id is ', toJSONString(left(producer_text, 80)), ', not a UUID'),
            ifNull(parsed.sequence, -1) < 0, 'sequence is missing',
            ifNull(parsed.state, '') NOT IN ('started', 'finished'), 'state is neither started nor finished',
            NOT match(ifNull(parsed.started_at, ''), '^[0-9]{1,19}$'), 'started_at is no time',
            '') AS flaw
    FROM
    (
        SELECT *, JSONExtract(if(body_kind = 's', body, ''), {record_text}) AS parsed
        FROM stage_logs
        WHERE event_name = 'mvtrace.request'
    )
)
SETTINGS max_threads = 1
