-- The cells of some metrics, by their places in the lists of metrics and of strata, counted from 1. What is
-- there once is not added up again, and of one stratum the place is known.
SELECT toUInt32(transform(metric, {metrics:Array(String)}, {places:Array(UInt32)}, toUInt32(0)) * 2 + {side}) AS code, toUInt32(hours) AS hour,
    toUInt32({stratum}) AS stratum, toInt64(cluster) AS bucket, toUInt64({sum}(requests)) AS n, {sum}(total) AS x, {sum}(squares) AS xx{bases}
FROM ({rows})
WHERE requests > 0{group}
