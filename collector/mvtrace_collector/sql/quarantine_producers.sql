-- What producers said that cannot be.
INSERT INTO {database}.quarantine (project, received_at, quarantine_id, reason, detail, subject, body)
SETTINGS {insert_settings}
SELECT
    project, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC'), substring(SHA256(concat(flaw, '\n', body)), 1, 16),
    'not-a-producer', flaw, 'mvtrace.producer', body
FROM stage_producers
WHERE flaw != ''
