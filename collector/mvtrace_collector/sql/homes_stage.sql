-- Where the evaluations belong that name a trace alone, of each trace of this segment's evaluations and
-- records: the first request whose record has the trace, else where they are, else where this one was put.
CREATE OR REPLACE TEMPORARY TABLE stage_homes
ENGINE = Memory
AS WITH
evaluated AS
(
    SELECT project, toFixedString(trace_id, 16) AS trace_id, request_id AS placed
    FROM
    (
        SELECT DISTINCT project, trace_id, claimed
        FROM stage_logs
        WHERE event_name = 'gen_ai.evaluation.result' AND trace_id = given_trace_id AND length(trace_id) = 16
    ) AS sent
    INNER JOIN stage_ids USING (project, trace_id, claimed)
    WHERE replaceAll(claimed, '-', '') != lower(hex(request_id))
    UNION ALL
    SELECT project, trace_id, request_id AS placed
    FROM {database}.evaluated_traces
    WHERE (project, trace_id) IN
    (
        SELECT project, toFixedString(unhex(ifNull(parsed.trace_id, '')), 16)
        FROM stage_records
        WHERE flaw = '' AND match(ifNull(parsed.trace_id, ''), '^[0-9a-f]{32}$')
    )
),
recorded AS
(
    SELECT project, assumeNotNull(trace_id) AS trace_id, min(request_id) AS first
    FROM {database}.requests
    WHERE (project, request_id) IN
        (
            SELECT project, request_id
            FROM {database}.request_aliases
            WHERE kind = 'trace_id' AND (project, alias_hash) IN (SELECT project, sipHash64(lower(hex(trace_id))) FROM evaluated)
        )
        AND trace_id IS NOT NULL
    GROUP BY project, trace_id
),
known AS
(
    SELECT project, trace_id, min(request_id) AS first
    FROM {database}.evaluated_traces
    WHERE (project, trace_id) IN (SELECT project, trace_id FROM evaluated)
    GROUP BY project, trace_id
)
SELECT
    e.project AS project,
    e.trace_id AS trace_id,
    multiIf(
        r.first != toFixedString('', 16), r.first,
        k.first != toFixedString('', 16), k.first,
        min(e.placed)) AS home
FROM evaluated AS e
LEFT JOIN recorded AS r ON r.project = e.project AND r.trace_id = e.trace_id
LEFT JOIN known AS k ON k.project = e.project AND k.trace_id = e.trace_id
GROUP BY e.project, e.trace_id, r.first, k.first
SETTINGS max_threads = 1, join_use_nulls = 0
