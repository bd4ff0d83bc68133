-- Of the traces of this segment's records and evaluations those that were evaluated under an id without a
-- record, with the first of the trace's requests that have one.
CREATE OR REPLACE TEMPORARY TABLE stage_owners
ENGINE = Memory
AS SELECT project, trace_id, request_id, owner
FROM
(
    SELECT project, trace_id, request_id
    FROM {database}.evaluated_traces
    WHERE (project, trace_id) IN
    (
        SELECT project, toFixedString(unhex(ifNull(parsed.trace_id, '')), 16)
        FROM stage_records
        WHERE flaw = '' AND match(ifNull(parsed.trace_id, ''), '^[0-9a-f]{32}$')
        UNION ALL
        SELECT project, toFixedString(substring(trace_id, 1, 16), 16)
        FROM stage_logs
        WHERE event_name = 'gen_ai.evaluation.result'
    )
    GROUP BY project, trace_id, request_id
) AS waiting
INNER JOIN
(
    SELECT project, toFixedString(unhex(alias), 16) AS trace_id, min(request_id) AS owner
    FROM {database}.request_aliases
    WHERE kind = 'trace_id' AND match(alias, '^[0-9a-f]{32}$')
        AND (project, alias_hash) IN
        (
            SELECT project, sipHash64(lower(ifNull(parsed.trace_id, ''))) FROM stage_records
            UNION ALL
            SELECT project, sipHash64(lower(hex(trace_id))) FROM stage_logs WHERE event_name = 'gen_ai.evaluation.result'
        )
        AND (project, request_id) IN
        (
            SELECT project, request_id FROM {database}.requests
            WHERE (project, request_id) IN
            (
                SELECT project, request_id FROM {database}.request_aliases
                WHERE kind = 'trace_id' AND (project, alias_hash) IN
                (
                    SELECT project, sipHash64(lower(ifNull(parsed.trace_id, ''))) FROM stage_records
                    UNION ALL
                    SELECT project, sipHash64(lower(hex(trace_id))) FROM stage_logs WHERE event_name = 'gen_ai.evaluation.result'
                )
            )
        )
    GROUP BY project, trace_id
) AS known USING (project, trace_id)
WHERE owner != request_id
SETTINGS max_threads = 1
