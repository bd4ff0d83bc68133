-- By metric, side, and what was drawn for: the requests and the sum of each hour, the arms, and who scored.
-- Of more rows than a comparison takes one too many is read.
SELECT toString(metric) AS name, {side} AS of_side, toString(rollout) AS drawn, toString(phase) AS share,
    groupUniqArray(8)(toString(arm)) AS arms, groupUniqArrayIf(9)(toString(scorer), scorer != '') AS scorers,
    groupArray(hours) AS at, groupArray(n) AS requests, groupArray(x) AS total
FROM
(
    SELECT composite_version, metric, rollout, arm, hours, phase, scorer, requests AS n, total AS x
    FROM ({rows})
    WHERE requests > 0
    LIMIT {limit:UInt32}
)
GROUP BY name, of_side, drawn, share
ORDER BY name, of_side, drawn, share
