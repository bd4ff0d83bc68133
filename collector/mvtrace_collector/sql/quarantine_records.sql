-- Records that may not become evidence: the reason, and the bytes.
INSERT INTO {database}.quarantine (project, received_at, quarantine_id, reason, detail, subject, body)
SETTINGS {insert_settings}
SELECT
    project, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC'), substring(SHA256(concat(problem, '\n', body)), 1, 16),
    splitByString(': ', problem)[1], substring(problem, position(problem, ': ') + 2), lower(hex(request_id)), body
FROM stage_records
INNER JOIN stage_verdicts USING (row)
WHERE problem != ''
