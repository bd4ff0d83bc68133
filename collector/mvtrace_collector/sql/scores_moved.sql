-- First they are where they belong; only then they are taken from where they were.
INSERT INTO {database}.scores (project, request_id, name, scorer, event_id, source, voter, value, label, scored_at, actor, received_at)
SETTINGS {insert_settings}
SELECT project, home, name, scorer, event_id, source, voter, value, label, scored_at, actor, received_at
FROM stage_moved
WHERE (project, home, event_id) NOT IN
(
    SELECT project, request_id, event_id
    FROM {database}.scores
    WHERE (project, request_id) IN (SELECT project, home FROM stage_moved)
)
LIMIT 1 BY project, event_id, home
