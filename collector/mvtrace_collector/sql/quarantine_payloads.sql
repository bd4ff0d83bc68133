-- Content that cannot be: the reason alone, since nothing else of it may be kept here.
INSERT INTO {database}.quarantine (project, received_at, quarantine_id, reason, detail, subject, body)
SETTINGS {insert_settings}
SELECT
    project, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC'), substring(SHA256(concat(flaw, '\n', toString(received_ms), said.request_id, said.kind, toString(said.piece))), 1, 16),
    'not-a-payload', flaw, 'mvtrace.payload', ''
FROM stage_payloads
WHERE flaw != ''
