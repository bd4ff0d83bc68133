-- Results of evals that the store does not have yet, a row each. What is in an entry was looked at
-- before it entered (registry_stage.sql).
INSERT INTO {database}.eval_results (project, suite, scorer, composite, run, entry, example, repeat, cluster, value, label, request_id, piece, pieces, recorded_at, received_at)
SETTINGS {insert_settings}
WITH sent AS
(
    SELECT project, digest AS entry, min(received_ms) AS received_ms,
        JSONExtract(any(body), 'Tuple(suite String, scorer String, composite String, run String, piece UInt32, pieces UInt32, recorded_at String, results Array(Tuple(example String, repeat UInt32, cluster String, value Nullable(Float64), label String, request_id String)))') AS said
    FROM stage_registry
    WHERE event_name = 'mvtrace.entry' AND problem = '' AND name = 'results'
    GROUP BY project, digest
)
SELECT
    project, said.suite, said.scorer, said.composite, said.run, entry, result.example AS example, result.repeat AS repeat, result.cluster, result.value, result.label,
    if(result.request_id = '', NULL, toFixedString(unhex(replaceAll(result.request_id, '-', '')), 16)),
    said.piece, said.pieces, fromUnixTimestamp64Nano(toInt64(said.recorded_at), 'UTC'), fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC')
FROM sent
ARRAY JOIN said.results AS result
WHERE (project, entry, example, repeat) NOT IN
(
    SELECT project, entry, example, repeat FROM {database}.eval_results
    WHERE (project, suite, scorer, composite, run) IN (SELECT project, said.suite, said.scorer, said.composite, said.run FROM sent)
        AND (project, entry) IN (SELECT project, entry FROM sent)
)
