-- Rows of the roll-up, one a bucket.
SELECT environment, service, composite_version, metric, rollout, arm, hours, phase, scorer,
    toInt64(bucket) AS cluster, n AS requests, x AS total, xx AS squares, y AS base, yy AS base_squares, xy AS cross
FROM ({rows})
ARRAY JOIN buckets AS bucket, bucket_requests AS n, bucket_total AS x, bucket_squares AS xx, bucket_base AS y, bucket_base_squares AS yy, bucket_cross AS xy
