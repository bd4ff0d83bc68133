-- Which requests are the first of their unit, or have its first bad event: those whose unit has none in an
-- earlier hour.
SELECT metric, request_id, scorer
FROM stage_met
WHERE (rollout, environment, service, metric, unit) NOT IN
(
    SELECT toString(rollout), toString(environment), toString(service), toString(metric), unit
    FROM
    (
        SELECT rollout, environment, service, metric, unit
        FROM {database}.quality_units
        WHERE project = {project:String} AND hour < toDateTime({hour:UInt32} * 3600, 'UTC')
            AND rollout IN (SELECT rollout FROM stage_met)
            AND (rollout, environment, service, metric, unit) IN (SELECT rollout, environment, service, metric, unit FROM stage_met)
        GROUP BY rollout, environment, service, metric, hour, unit
        HAVING argMax(request_id, revision) != toFixedString('', 16)
    )
)
