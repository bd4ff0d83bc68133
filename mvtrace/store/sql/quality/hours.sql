-- By metric, side, and what was drawn for: the requests and the sum of each hour, who scored, and of what is
-- counted once a unit where that was; of the requests under which arm they were drawn (0 stable, 1 canary, 2
-- another or none). Of more rows than a comparison takes one too many is read.
SELECT toString(metric) AS name, {side} AS of_side, toString(rollout) AS drawn, toString(phase) AS share,
    groupUniqArrayIf(9)(toString(scorer), scorer != '') AS scorers,
    groupUniqArrayIf(99)(concat(environment, '\x1f', service), metric = '>unit' OR endsWith(metric, ':first')) AS places,
    groupArray(hours) AS at, groupArrayIf(transform(toString(arm), ['stable', 'canary'], [0, 1], 2), metric = 'request') AS arms,
    groupArray(n) AS requests, groupArray(x) AS total
FROM
(
    SELECT environment, service, composite_version, metric, rollout, arm, hours, phase, scorer, requests AS n, total AS x
    FROM ({rows})
    WHERE requests > 0
    LIMIT {limit:UInt32}
)
GROUP BY name, of_side, drawn, share
ORDER BY name, of_side, drawn, share
