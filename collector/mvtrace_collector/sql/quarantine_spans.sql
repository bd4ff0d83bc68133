-- Spans without a valid trace id or span id, as JSON text.
INSERT INTO {database}.quarantine (project, received_at, quarantine_id, reason, detail, subject, body)
SETTINGS {insert_settings}
SELECT
    project, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC'), substring(SHA256(concat(detail, '\n', body)), 1, 16),
    'malformed-id',
    concat('trace id ', lower(hex(trace_id)), ', span id ', lower(hex(span_id))) AS detail,
    name,
    toJSONString(CAST((name, start_ns, end_ns, arrayFilter(k -> NOT has({content_keys:Array(String)}, k), keys)), 'Tuple(name String, start_time_unix_nano String, end_time_unix_nano String, attribute_keys Array(String))')) AS body
FROM stage_spans
WHERE NOT is_sound
