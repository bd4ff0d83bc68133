-- The newest revision of the rows of the roll-up in a time.
SELECT environment, service, composite_version, metric, rollout, arm, toUInt32(intDiv(toUnixTimestamp(hour), 3600)) AS hours, phase, scorer,
    requests, total, buckets, bucket_requests, bucket_total, bucket_squares, bucket_base, bucket_base_squares, bucket_cross
FROM quality_hourly FINAL
WHERE project = {project:String}
    AND hour >= toDateTime({since_hour:UInt32} * 3600, 'UTC')
    AND hour <= toDateTime({until_hour:UInt32} * 3600, 'UTC')
