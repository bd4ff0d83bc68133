-- Content counts if it names its request, its kind and its subject. What was captured about a subject
-- before it was erased, and what belongs to an erased request, is not let in; nor what has expired.
-- It was made when its request began, by the sender's clock less what that is ahead, and before it came.
INSERT INTO stage_payloads
SELECT
    project, received_ms, request_id, if(flaw = '', toYYYYMM(at), 0), subject, flaw,
    erased.erased_at >= made_at
        OR (project, request_id) IN (SELECT project, unhex(hex(request_id)) FROM {database}.erasures WHERE reach = 'request')
        OR (project, request_id, subject) IN (SELECT project, unhex(hex(request_id)), subject FROM {database}.erasures),
    at + toIntervalDay({retention_days:UInt16}) < now64(3, 'UTC') + toIntervalHour(1),
    erased.erased_at, erased.erased_by, erased.reason, said
FROM
(
    SELECT
        project, received_ms,
        JSONExtract(if(body_kind = 's', body, ''), 'Tuple(request_id String, kind String, digest String, piece UInt32, pieces UInt32, subject String, mode String, key_id String, nonce String, body String, bytes UInt64, is_cut Bool, redactions Map(String, UInt64))') AS said,
        if(match(said.request_id, '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'), unhex(replaceAll(said.request_id, '-', '')), '') AS request_id,
        reinterpretAsUInt64(reverse(substring(request_id, 1, 6))) AS id_ms,
        fromUnixTimestamp64Milli(toInt64(least(id_ms, received_ms + 86400000)), 'UTC') AS at,
        fromUnixTimestamp64Milli(least(toInt64(least(id_ms, received_ms + 86400000)) - ahead_ms, toInt64(received_ms)), 'UTC') AS made_at,
        said.subject AS subject,
        multiIf(
            body_kind != 's' OR NOT isValidJSON(body) OR JSONType(body) != 'Object', 'the body is no JSON object',
            request_id = '', 'request_id is no UUIDv7',
            id_ms < 1577836800000 OR id_ms > received_ms + 86400000, 'the time in request_id cannot be',
            said.kind = '' OR said.digest = '' OR subject = '', 'kind, digest or subject is missing',
            said.mode NOT IN ('redacted', 'full'), 'mode is neither redacted nor full',
            said.mode = 'full' AND (said.key_id = '' OR said.nonce = ''), 'key_id or nonce is missing',
            said.pieces < 1 OR said.pieces > 1024 OR said.piece >= said.pieces, 'piece is not one of pieces',
            said.body != '' AND tryBase64Decode(said.body) = '', 'the content is no base64',
            '') AS flaw
    FROM stage_logs
    WHERE event_name = 'mvtrace.payload'
) AS sent
LEFT JOIN
(
    SELECT project, subject, max(erased_at) AS erased_at, argMax(erased_by, erasures.erased_at) AS erased_by, argMax(reason, erasures.erased_at) AS reason
    FROM {database}.erasures
    WHERE request_id = toFixedString('', 16)
    GROUP BY project, subject
) AS erased USING (project, subject)
SETTINGS max_threads = 1
