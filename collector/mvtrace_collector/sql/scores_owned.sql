-- The scores of evaluations whose trace has turned out to be a request's, as that request's.
INSERT INTO {database}.scores (project, request_id, name, scorer, event_id, source, voter, value, label, scored_at, actor, received_at)
SETTINGS {insert_settings}
SELECT project, owner, name, scorer, event_id, source, voter, value, label, scored_at, actor, received_at
FROM
(
    SELECT * FROM {database}.scores
    WHERE (project, request_id) IN (SELECT project, request_id FROM stage_owners)
        AND event_id IN
        (
            SELECT event_id FROM {database}.events
            WHERE name = 'gen_ai.evaluation.result' AND (project, request_id) IN (SELECT project, request_id FROM stage_owners)
        )
) AS put
INNER JOIN stage_owners USING (project, request_id)
