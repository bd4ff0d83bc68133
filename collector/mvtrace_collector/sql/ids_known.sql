-- Which requests the store knows these traces by.
SELECT DISTINCT project, upper(alias) AS trace, hex(request_id) AS request
FROM {database}.request_aliases
WHERE kind = 'trace_id' AND (project, alias_hash) IN
(
    SELECT project, sipHash64(lower(hex(trace_id))) FROM stage_spans
    UNION ALL
    SELECT project, sipHash64(lower(hex(trace_id))) FROM stage_logs WHERE startsWith(event_name, 'gen_ai.')
)
SETTINGS max_threads = 1
