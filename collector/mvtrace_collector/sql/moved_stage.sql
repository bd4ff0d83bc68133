-- The scores of such evaluations that are still there. What they name is told by the event itself, so
-- that a score that somebody gave that very request stays.
CREATE OR REPLACE TEMPORARY TABLE stage_moved
ENGINE = Memory
AS SELECT s.*, e.home AS home
FROM
(
    SELECT project, request_id, name, scorer, event_id, source, voter, value, label, scored_at, actor, received_at
    FROM {database}.scores
    WHERE (project, request_id) IN
    (
        SELECT project, request_id
        FROM {database}.evaluated_traces
        WHERE (project, trace_id) IN (SELECT project, trace_id FROM stage_homes)
    )
) AS s
INNER JOIN
(
    SELECT DISTINCT project, event_id, home
    FROM {database}.events
    INNER JOIN stage_homes USING (project, trace_id)
    WHERE name = 'gen_ai.evaluation.result'
        AND replaceRegexpAll(lower(attributes['mvtrace.request.id']), '["-]', '') != lower(hex(request_id))
        AND (project, request_id) IN
        (
            SELECT project, request_id
            FROM {database}.request_aliases
            WHERE kind = 'trace_id' AND (project, alias_hash) IN (SELECT project, sipHash64(lower(hex(trace_id))) FROM stage_homes)
        )
) AS e ON e.project = s.project AND e.event_id = s.event_id
WHERE s.request_id != e.home
SETTINGS max_threads = 1
