-- What a rollout has come to: of each arm how many requests, and of how many units.
SELECT
    ifNull(arm, '') AS side,
    toString(count()) AS requests,
    toString(uniqExactIf(unit, unit != toFixedString('', 16))) AS units
FROM requests FINAL
WHERE project = {project:String}
    AND request_id >= unhex({first:String})
    AND rollout = {rollout:String}
GROUP BY side
ORDER BY side DESC
LIMIT 100
