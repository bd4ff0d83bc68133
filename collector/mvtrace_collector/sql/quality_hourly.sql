-- Brings one hour of the roll-up to what its raw rows say now, told by quality_cells.sql. Only
-- what differs is written; what is no more is written without requests. An hour's sums are those of its
-- buckets, added in their order.
INSERT INTO {database}.quality_hourly
(
    project, environment, service, composite_version, metric, rollout, arm, hour, phase, scorer,
    revision, requests, total, squares, base, base_squares, cross,
    buckets, bucket_requests, bucket_total, bucket_squares, bucket_base, bucket_base_squares, bucket_cross
)
SELECT {project:String}, environment, service, composite_version, metric, rollout, arm, toDateTime({hour:UInt32} * 3600, 'UTC'), phase, scorer,
    {revision:UInt64}, now.1, now.2, now.3, now.4, now.5, now.6,
    lists.1, lists.2, lists.3, lists.4, lists.5, lists.6, lists.7
FROM
(
    SELECT environment, service, composite_version, metric, rollout, arm, phase, scorer,
        anyIf(sums, is_new) AS now, anyIf(sums, NOT is_new) AS before,
        anyIf(cells, is_new) AS lists, anyIf(cells, NOT is_new) AS lists_before
    FROM
    (
        SELECT environment, service, composite_version, measure AS metric, rollout, arm, phase, scorer,
            arraySort(groupArray((toUInt8(cluster), requests, total, squares, base, base_squares, cross))) AS sorted,
            (arraySum(sorted.2), arraySum(sorted.3), arraySum(sorted.4), arraySum(sorted.5), arraySum(sorted.6), arraySum(sorted.7)) AS sums,
            if(metric = 'request' OR startsWith(metric, '>') OR endsWith(metric, ':first'), [], sorted) AS kept,
            (kept.1, kept.2, kept.3, kept.4, kept.5, kept.6, kept.7) AS cells,
            true AS is_new
        FROM stage_cells
        GROUP BY environment, service, composite_version, metric, rollout, arm, phase, scorer
        UNION ALL
        SELECT toString(environment), toString(service), toString(composite_version), toString(metric), toString(rollout), toString(arm), toString(phase), toString(scorer),
            [], argMax((requests, total, squares, base, base_squares, cross), revision), [],
            argMax((buckets, bucket_requests, bucket_total, bucket_squares, bucket_base, bucket_base_squares, bucket_cross), revision), false
        FROM {database}.quality_hourly
        WHERE project = {project:String} AND hour = toDateTime({hour:UInt32} * 3600, 'UTC')
        GROUP BY environment, service, composite_version, metric, rollout, arm, phase, scorer
    )
    GROUP BY environment, service, composite_version, metric, rollout, arm, phase, scorer
)
WHERE now != before OR lists != lists_before
