-- The next hours of units that are met, or had an event, in this one now and were not before, or the other
-- way round: what was first there may be first no more.
SELECT DISTINCT intDiv(toUnixTimestamp(next), 3600) AS number
FROM
(
    SELECT min(hour) AS next
    FROM
    (
        SELECT rollout, environment, service, metric, unit, hour
        FROM {database}.quality_units
        WHERE project = {project:String} AND hour > toDateTime({hour:UInt32} * 3600, 'UTC')
            AND rollout IN (SELECT rollout FROM stage_changed)
            AND (rollout, environment, service, metric, unit) IN
            (
                SELECT rollout, environment, service, metric, unit FROM stage_changed
                WHERE (request_id = toFixedString('', 16)) != (was = toFixedString('', 16))
            )
        GROUP BY rollout, environment, service, metric, unit, hour
        HAVING argMax(request_id, revision) != toFixedString('', 16)
    )
    GROUP BY rollout, environment, service, metric, unit
)
ORDER BY number
