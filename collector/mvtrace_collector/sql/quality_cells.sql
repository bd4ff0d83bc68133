-- The cells of a range of requests. What stands for values, firsts and mixed are the statements of these
-- names, for the cluster what tells units apart (of what has none its conversation, else the request). Rows come in the order of request ids and are added in
-- it, so that sums are the same to the last digit whatever came first; for that one thread does it.
SELECT environment, service, composite_version, measured.1 AS measure, rollout, arm, hour, phase, scorer, cluster,
    count() AS requests, sum(measured.2) AS total, sum(measured.2 * measured.2) AS squares,
    sum(measured.3) AS base, sum(measured.3 * measured.3) AS base_squares, sum(measured.2 * measured.3) AS cross
FROM
(
    SELECT
        environment, service, composite_version, arm, rollout, scorer, assumeNotNull(value) AS worth,
        toUInt32(intDiv(reinterpretAsUInt64(reverse(substring(request_id, 1, 6))), 3600000)) AS hour,
        ifNull(toString(planned_share), '') AS phase,
        {cluster} AS cluster,
        unit = toFixedString('', 16) OR (if(metric = 'request', '>unit', metric), request_id, scorer) IN ({firsts}) AS is_first,
        arrayConcat(
            [(metric, worth, base)],
            if(rollout != '' AND has({events:Array(String)}, metric), [(concat(metric, ':first'), toFloat64(worth > 0 AND is_first), 1.)], []),
            if(rollout != '' AND metric = 'request' AND is_first, [('>unit', 1., 1.)], []),
            if(metric = 'request' AND request_id IN ({mixed}), [('>mixed', 1., 1.)], [])) AS counted
    FROM ({values})
)
ARRAY JOIN counted AS measured
GROUP BY environment, service, composite_version, measure, rollout, arm, hour, phase, scorer, cluster
