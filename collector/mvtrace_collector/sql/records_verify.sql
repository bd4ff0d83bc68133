-- A later revision may have replaced one of this segment: requests are counted, not revisions.
SELECT 'requests' AS name, uniqExact((project, request_id)) AS expected,
    (SELECT uniqExact((project, request_id)) FROM {database}.requests
        WHERE (project, request_id) IN (SELECT project, toFixedString(request_id, 16) FROM stage_records WHERE problem = '')) AS found
FROM stage_records
WHERE problem = ''
UNION ALL
SELECT 'quarantine', count(), count() FROM stage_records WHERE problem != ''
