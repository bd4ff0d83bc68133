-- Scores that may not be stored: the reason, and the bytes of those that came whole in a body.
INSERT INTO {database}.quarantine (project, received_at, quarantine_id, reason, detail, subject, body)
SETTINGS {insert_settings}
SELECT
    project, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC'), substring(SHA256(concat(flaw, '\n', hex(event_id), '\n', body)), 1, 16),
    splitByString(': ', flaw)[1], substring(flaw, position(flaw, ': ') + 2), concat('score ', lower(hex(event_id))), body
FROM stage_scores
WHERE flaw != ''
