-- What Python has to look into before the gen_ai.* events leave the stage, and how many rows there
-- are of each kind.
SELECT
    countIf(event_name = 'mvtrace.request') AS records,
    countIf(event_name IN ('mvtrace.component', 'mvtrace.composite', 'mvtrace.content', 'mvtrace.entry')) AS registry,
    countIf(event_name = 'mvtrace.producer') AS producers,
    countIf(event_name = 'mvtrace.payload') AS payloads,
    countIf(event_name IN ('mvtrace.deployment', 'mvtrace.retention', 'mvtrace.verdict')) AS decisions,
    countIf(event_name IN ('mvtrace.feedback', 'gen_ai.evaluation.result')) AS scores,
    (SELECT count() FROM {database}.erasures) AS erasures,
    uniqExactIf((project, event_id), is_event) AS events,
    groupUniqArrayIf((base64Encode(resource), base64Encode(scope)), is_event) AS scopes,
    groupUniqArrayArrayIf(arrayMap(k -> (event_name, k), attributes.key), is_event) AS keys,
    groupUniqArrayArrayIf(arrayMap(v -> concat(v.value, base64Encode(concat(v.array_value, v.kvlist_value))), arrayFilter(v -> v.value IN ('a', 'm'), attributes.value)), is_event) AS nested
FROM (SELECT *, startsWith(event_name, 'gen_ai.') AS is_event FROM stage_logs)
SETTINGS max_threads = 1
