-- Requests whose record came only after their subject was erased: no name of theirs is let in. And
-- those whose content was erased before it was known that their record names nobody.
INSERT INTO {database}.erasures (project, request_id, subject, erased_at, erased_by, reason, reach)
SETTINGS {insert_settings}
WITH arrayFilter(a -> ifNull(a.kind, '') = 'subject', parsed.aliases) AS subjects
SELECT DISTINCT project, request_id, subject, erased_at, erased_by, reason, 'request'
FROM
(
    SELECT project, toFixedString(request_id, 16) AS request_id, made_at, ifNull(arrayJoin(subjects.value), '') AS subject
    FROM stage_records
    WHERE row IN (SELECT row FROM stage_verdicts WHERE problem = '')
) AS named
INNER JOIN
(
    SELECT project, subject, max(erased_at) AS erased_at, argMax(erased_by, erasures.erased_at) AS erased_by, argMax(reason, erasures.erased_at) AS reason
    FROM {database}.erasures
    WHERE request_id = toFixedString('', 16)
    GROUP BY project, subject
) AS erased USING (project, subject)
WHERE erased_at >= made_at
UNION ALL
SELECT DISTINCT project, request_id, subject, erased_at, erased_by, reason, 'names'
FROM {database}.erasures
WHERE reach = 'subject' AND (project, request_id) IN
    (SELECT project, toFixedString(request_id, 16) FROM stage_records WHERE empty(subjects) AND parsed.state = 'finished' AND row IN (SELECT row FROM stage_verdicts WHERE problem = ''))
