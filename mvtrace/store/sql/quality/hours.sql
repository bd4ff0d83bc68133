-- By metric, side, and what was drawn for: the requests and the sum of each hour, the arms, and who scored.
SELECT toString(metric) AS name, {side} AS of_side, toString(rollout) AS drawn, toString(phase) AS share,
    groupUniqArray(8)(toString(arm)) AS arms, groupUniqArrayIf(9)(toString(scorer), scorer != '') AS scorers,
    groupArray(hours) AS at, groupArray(n) AS requests, groupArray(x) AS total
FROM
(
    SELECT {keys}composite_version, metric, rollout, arm, hours, phase, scorer, sum(requests) AS n, sum(total) AS x
    FROM ({rows})
    WHERE requests > 0
    GROUP BY {keys}composite_version, metric, rollout, arm, hours, phase, scorer
)
GROUP BY name, of_side, drawn, share
ORDER BY name, of_side, drawn, share
