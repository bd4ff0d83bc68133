-- The same rows, made of raw ones.
SELECT environment, service, composite_version, measure AS metric, rollout, arm, hour AS hours, phase, scorer,
    cluster, requests, total, squares, base, base_squares, cross
FROM stage_cells
WHERE hours BETWEEN {since_hour:UInt32} AND {until_hour:UInt32}
