-- How many of the segment's spans the table has; a span sent under two requests counts once.
SELECT uniqExact((project, trace_id, span_id)) AS found
FROM {database}.spans
WHERE (project, request_id) IN (SELECT project, request_id FROM stage_ids)
    AND (trace_id, span_id) IN (SELECT toFixedString(if(is_sound, trace_id, ''), 16), toFixedString(if(is_sound, span_id, ''), 8) FROM stage_spans)
SETTINGS max_threads = 1
