-- Brings one hour of the roll-up to what its raw rows say now, told by quality_cells.sql. Only
-- what differs is written; a cell that is no more is written without requests.
INSERT INTO {database}.quality_hourly
(
    project, environment, service, composite_version, metric, rollout, arm, hour, phase, scorer, bucket,
    revision, requests, total, squares, base, base_squares, cross
)
SELECT {project:String}, environment, service, composite_version, metric, rollout, arm, toDateTime({hour:UInt32} * 3600, 'UTC'), phase, scorer, bucket,
    {revision:UInt64}, now.1, now.2, now.3, now.4, now.5, now.6
FROM
(
    SELECT environment, service, composite_version, metric, rollout, arm, phase, scorer, bucket,
        anyIf(sums, is_new) AS now, anyIf(sums, NOT is_new) AS before
    FROM
    (
        SELECT environment, service, composite_version, measure AS metric, rollout, arm, phase, scorer, toUInt16(cluster) AS bucket,
            (requests, total, squares, base, base_squares, cross) AS sums, true AS is_new
        FROM stage_cells
        UNION ALL
        SELECT toString(environment), toString(service), toString(composite_version), toString(metric), toString(rollout), toString(arm), toString(phase), toString(scorer), bucket,
            argMax((requests, total, squares, base, base_squares, cross), revision), false
        FROM {database}.quality_hourly
        WHERE project = {project:String} AND hour = toDateTime({hour:UInt32} * 3600, 'UTC')
        GROUP BY environment, service, composite_version, metric, rollout, arm, phase, scorer, bucket
    )
    GROUP BY environment, service, composite_version, metric, rollout, arm, phase, scorer, bucket
)
WHERE now != before
