-- Each span of the segment, by the key of its row: how many, and how many of them the table has.
WITH placed AS
(
    SELECT DISTINCT project, request_id, toFixedString(trace_id, 16) AS trace, toFixedString(if(length(span_id) = 8, span_id, ''), 8) AS span
    FROM stage_spans
    INNER JOIN stage_ids USING (project, trace_id, claimed)
    WHERE length(span_id) = 8 AND span_id != unhex(repeat('00', 8))
)
SELECT
    'spans' AS name,
    (SELECT count() FROM placed) AS expected,
    uniqExact((project, request_id, trace_id, span_id)) AS found
FROM {database}.spans
WHERE (project, request_id) IN (SELECT project, request_id FROM stage_ids)
    AND (project, request_id, trace_id, span_id) IN (SELECT project, request_id, trace, span FROM placed)
SETTINGS max_threads = 1
