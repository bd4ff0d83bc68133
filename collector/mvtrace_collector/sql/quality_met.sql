-- The units of a range of requests and their bad events, each with its first request. What
-- stands for the values is quality_values.sql. Of several scorers that a request's event has, the first by name stands for it.
SELECT rollout, environment, service, if(metric = 'request', '>unit', metric) AS what, unit, min((request_id, scorer)) AS first, first.1 AS at, first.2 AS scored_by
FROM ({values})
WHERE rollout != '' AND unit != toFixedString('', 16) AND (metric = 'request' OR (has({events:Array(String)}, metric) AND value > 0))
GROUP BY rollout, environment, service, what, unit
