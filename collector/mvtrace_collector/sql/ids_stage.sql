-- One request id a trace: what the span claims (a UUIDv7 in a sane range); else what the store knows
-- the trace by; else what another span of the batch claims; else an id made from project, trace and
-- start, the same wherever and whenever it is made from the same spans.
INSERT INTO stage_ids
WITH
    ms -> unhex(leftPad(hex(ms), 12, '0')) AS six_bytes,
    claims AS
    (
        SELECT
            project, trace_id, claimed,
            match(claimed, '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS is_id,
            unhex(replaceAll(if(is_id, claimed, ''), '-', '')) AS claimed_id,
            is_id AND reinterpretAsUInt64(reverse(substring(claimed_id, 1, 6))) BETWEEN 1577836800000 AND max(received_ms) + 86400000 AS is_valid,
            min(least(greatest(start_ns, 1577836800000000000), received_ms * 1000000 + 86400000000000)) AS earliest_ns,
            min(received_ms) AS first_ms,
            any(is_trace) AS is_trace
        FROM
        (
            SELECT project, trace_id, claimed, start_ns, received_ms, true AS is_trace
            FROM stage_spans
            WHERE length(trace_id) = 16 AND length(span_id) = 8 AND trace_id != unhex(repeat('00', 16)) AND span_id != unhex(repeat('00', 8))
            UNION ALL
            SELECT project, trace_id, claimed, time_ns, received_ms, trace_id = given_trace_id
            FROM stage_logs
            WHERE startsWith(event_name, 'gen_ai.')
        )
        GROUP BY project, trace_id, claimed
    ),
    traces AS
    (
        SELECT
            project, trace_id,
            minIf(claimed_id, is_valid) AS batch_id,
            intDiv(min(earliest_ns), 1000000) AS start_ms,
            hex(SHA256(concat(project, '\n', trace_id))) AS seed,
            concat(six_bytes(start_ms), unhex(concat('7', substring(seed, 1, 3), substring('89AB', 1 + reinterpretAsUInt8(trace_id) % 4, 1), substring(seed, 4, 15)))) AS minted_id
        FROM claims
        GROUP BY project, trace_id
    ),
    known AS
    (
        SELECT project, unhex(alias) AS trace_id, min(request_id) AS request_id
        FROM {database}.request_aliases
        WHERE (project, alias_hash) IN (SELECT project, sipHash64(lower(hex(trace_id))) FROM traces) AND kind = 'trace_id'
        GROUP BY project, alias
    )
SELECT
    project, trace_id, claimed, is_trace,
    toFixedString(multiIf(is_valid, claimed_id, known.request_id != unhex(repeat('00', 16)), unhex(hex(known.request_id)), batch_id != '', batch_id, minted_id), 16) AS request_id,
    toYYYYMM(fromUnixTimestamp64Milli(toInt64(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))), 'UTC')) AS month,
    first_ms
FROM claims
INNER JOIN traces USING (project, trace_id)
LEFT JOIN known USING (project, trace_id)
SETTINGS max_threads = 1, join_use_nulls = 0
