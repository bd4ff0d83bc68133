SELECT uniqExact((project, producer_id)) AS found
FROM {database}.producers
WHERE (project, producer_id) IN (SELECT project, toFixedString(producer_id, 16) FROM stage_producers WHERE flaw = '')
