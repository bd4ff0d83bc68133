-- How many ids evaluations of these traces were under that are not the one where they belong.
SELECT count() AS former
FROM {database}.evaluated_traces
INNER JOIN stage_homes USING (project, trace_id)
WHERE (project, trace_id) IN (SELECT project, trace_id FROM stage_homes) AND request_id != home
SETTINGS max_threads = 1
