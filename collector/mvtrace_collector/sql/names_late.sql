-- How many of the segment's records finish an erased request: what it was called when it began may be stored.
SELECT count() AS records
FROM stage_records
WHERE revision > 1 AND flaw = ''
    AND (project, request_id) IN (SELECT project, unhex(hex(request_id)) FROM {database}.erasures WHERE reach != 'subject')
