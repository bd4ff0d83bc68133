-- Decisions that may not be stored: the reason, and the bytes.
INSERT INTO {database}.quarantine (project, received_at, quarantine_id, reason, detail, subject, body)
SETTINGS {insert_settings}
SELECT
    project, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC'), substring(SHA256(concat(problem, '\n', hex(event_id), '\n', body)), 1, 16),
    splitByString(': ', problem)[1], substring(problem, position(problem, ': ') + 2), concat(name, ' ', lower(hex(event_id))), body
FROM stage_decisions
WHERE problem != ''
