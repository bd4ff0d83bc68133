INSERT INTO stage_changed (rollout, environment, service, metric, unit, request_id, was)
SELECT rollout, environment, service, metric, unit, maxIf(request_id, is_new) AS now, maxIf(request_id, NOT is_new) AS before
FROM
(
    SELECT rollout, environment, service, metric, unit, request_id, true AS is_new
    FROM stage_met
    UNION ALL
    SELECT toString(rollout), toString(environment), toString(service), toString(metric), unit, argMax(request_id, revision), false
    FROM {database}.quality_units
    WHERE project = {project:String} AND hour = toDateTime({hour:UInt32} * 3600, 'UTC')
    GROUP BY rollout, environment, service, metric, unit
)
GROUP BY rollout, environment, service, metric, unit
HAVING now != before
