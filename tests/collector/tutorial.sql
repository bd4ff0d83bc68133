-- 1. How many requests are stored
SELECT count() FROM requests;

-- 2. Requests by route and status
SELECT route, status_code, count() AS n FROM requests GROUP BY route, status_code ORDER BY n DESC;

-- 3. Latency of each version, in milliseconds
SELECT
    substring(composite_version, 1, 12) AS version,
    count() AS n,
    round(quantile(0.5)(duration_ns) / 1e6, 1) AS p50_ms,
    round(quantile(0.95)(duration_ns) / 1e6, 1) AS p95_ms
FROM requests
GROUP BY composite_version
ORDER BY n DESC;

-- 4. Several quantiles at once
SELECT route, quantiles(0.5, 0.9, 0.99)(duration_ns) AS q FROM requests GROUP BY route;

-- 5. Error rate by arm
SELECT arm, countIf(status_code >= 500) / count() AS error_rate, count() AS n FROM requests GROUP BY arm;

-- 6. Requests an hour
SELECT toStartOfHour(started_at) AS hour, count() AS n FROM requests GROUP BY hour ORDER BY hour;

-- 7. Every hour, also those without requests
SELECT toStartOfInterval(started_at, INTERVAL 1 HOUR) AS hour, count() AS n
FROM requests
GROUP BY hour
ORDER BY hour WITH FILL STEP INTERVAL 1 HOUR;

-- 8. The slowest requests, by their ids as text
SELECT request_id_text, route, duration_ns / 1e6 AS ms FROM requests ORDER BY duration_ns DESC LIMIT 10;

-- 9. The slowest two of each route
SELECT route, request_id_text, duration_ns FROM requests ORDER BY route, duration_ns DESC LIMIT 2 BY route;

-- 10. Requests with drift, newest first
SELECT request_id_text, started_at, drift FROM requests WHERE drift > 0 ORDER BY started_at DESC LIMIT 20;

-- 11. Only the newest revision of each request
SELECT request_id_text, argMax(state, revision) AS state FROM requests GROUP BY request_id, request_id_text LIMIT 5;

-- 12. The same with FINAL
SELECT count() FROM requests FINAL WHERE state = 'finished';

-- 13. Models that served
SELECT arrayJoin(models_served) AS model, count() AS n FROM requests GROUP BY model ORDER BY n DESC;

-- 14. Tokens by model, from spans
SELECT model_served, sum(input_tokens) AS tokens_in, sum(output_tokens) AS tokens_out
FROM spans
WHERE operation = 'chat'
GROUP BY model_served;

-- 15. Time in each step
SELECT name, count() AS n, avg(duration_ns) / 1e6 AS mean_ms, max(duration_ns) / 1e6 AS max_ms
FROM spans
GROUP BY name
ORDER BY mean_ms DESC;

-- 16. An attribute of a span
SELECT attributes_string['index'] AS searched, count() FROM spans WHERE mapContains(attributes_string, 'index') GROUP BY searched;

-- 17. Which attributes there are
SELECT arrayJoin(mapKeys(attributes_string)) AS key, count() AS n FROM spans GROUP BY key ORDER BY n DESC;

-- 18. Lists inside attributes are JSON text
SELECT arrayJoin(JSONExtract(attributes_json['documents'], 'Array(String)')) AS document, count() AS n
FROM spans
WHERE attributes_json['documents'] != ''
GROUP BY document
ORDER BY n DESC;

-- 19. Facts of components
SELECT kind, JSONExtractInt(body, 'facts', 'size') AS size FROM components WHERE kind = 'index' ORDER BY size;

-- 20. Components by kind
SELECT kind, uniqExact(digest) AS versions FROM components GROUP BY kind ORDER BY kind;

-- 21. What a version is made of
SELECT kind, name, digest
FROM composites
ARRAY JOIN component_kinds AS kind, component_names AS name, component_digests AS digest
WHERE startsWith(version, 'aaaaaaaa');

-- 22. The slots in which two versions differ
SELECT a.name AS slot, a.digest AS in_a, b.digest AS in_b
FROM (SELECT name, digest FROM composites ARRAY JOIN component_names AS name, component_digests AS digest WHERE version LIKE 'a%') AS a
INNER JOIN (SELECT name, digest FROM composites ARRAY JOIN component_names AS name, component_digests AS digest WHERE version LIKE 'b%') AS b USING (name)
WHERE a.digest != b.digest;

-- 23. Spans of slow requests
SELECT s.name, count() AS n
FROM spans AS s
INNER JOIN requests AS r ON s.request_id = r.request_id
WHERE r.duration_ns > 150000000
GROUP BY s.name;

-- 24. The same with IN
SELECT name, count() FROM spans WHERE request_id IN (SELECT request_id FROM requests WHERE status_code = 500) GROUP BY name;

-- 25. Share of a version over time, with a CTE
WITH total AS (SELECT toDate(started_at) AS day, count() AS n FROM requests GROUP BY day)
SELECT r.day, r.version, r.n / total.n AS share
FROM (SELECT toDate(started_at) AS day, substring(composite_version, 1, 12) AS version, count() AS n FROM requests GROUP BY day, version) AS r
INNER JOIN total ON r.day = total.day
ORDER BY r.day, share DESC;

-- 26. Running count of errors, a window
SELECT
    started_at,
    sum(status_code >= 500) OVER (ORDER BY started_at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS errors
FROM requests
ORDER BY started_at
LIMIT 50;

-- 27. Each request against the one before on its route
SELECT
    route,
    started_at,
    duration_ns - lagInFrame(duration_ns, 1, duration_ns) OVER (PARTITION BY route ORDER BY started_at ASC ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS change_ns
FROM requests
ORDER BY route, started_at
LIMIT 20;

-- 28. Two tables one after the other
SELECT 'requests' AS what, count() AS n FROM requests
UNION ALL
SELECT 'spans' AS what, count() AS n FROM spans
ORDER BY what;

-- 29. A histogram of latency
SELECT floor(duration_ns / 1e7) * 10 AS from_ms, count() AS n, bar(n, 0, 100, 20) AS drawn
FROM requests
GROUP BY from_ms
ORDER BY from_ms;

-- 30. Events inside spans, and how long after the start they came
SELECT event.2 AS event_name, avg(dateDiff('millisecond', start_time, event.1)) AS after_ms
FROM spans
ARRAY JOIN events AS event
GROUP BY event_name;
