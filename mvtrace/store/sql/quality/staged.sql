-- The same rows, made of raw ones.
SELECT environment, service, composite_version, metric, rollout, arm, hours, phase, scorer,
    arraySum(cells.2) AS requests, arraySum(cells.3) AS total, cells.1 AS buckets, cells.2 AS bucket_requests, cells.3 AS bucket_total,
    cells.4 AS bucket_squares, cells.5 AS bucket_base, cells.6 AS bucket_base_squares, cells.7 AS bucket_cross
FROM
(
    SELECT environment, service, composite_version, measure AS metric, rollout, arm, hour AS hours, phase, scorer,
        arraySort(groupArray((cluster, requests, total, squares, base, base_squares, cross))) AS cells
    FROM stage_cells
    GROUP BY environment, service, composite_version, metric, rollout, arm, hours, phase, scorer
)
WHERE hours BETWEEN {since_hour:UInt32} AND {until_hour:UInt32}
