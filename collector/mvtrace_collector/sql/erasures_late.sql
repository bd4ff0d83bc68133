-- Requests whose content came only after their subject was erased: `explain` says so of them too.
INSERT INTO {database}.erasures (project, request_id, subject, erased_at, erased_by, reason, reach)
SETTINGS {insert_settings}
SELECT DISTINCT project, toFixedString(request_id, 16), subject, erased_at, erased_by, reason, 'subject'
FROM stage_payloads
WHERE flaw = '' AND is_erased AND erased_by != ''
