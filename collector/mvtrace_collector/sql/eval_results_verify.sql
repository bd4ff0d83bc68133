SELECT uniqExact((project, entry, example, repeat)) AS found
FROM {database}.eval_results
WHERE (project, suite, scorer, composite, run, entry) IN
(
    SELECT project, JSONExtractString(body, 'suite'), JSONExtractString(body, 'scorer'), JSONExtractString(body, 'composite'), JSONExtractString(body, 'run'), digest
    FROM stage_registry
    WHERE event_name = 'mvtrace.entry' AND problem = '' AND name = 'results'
)
