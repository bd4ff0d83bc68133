-- The cells of some metrics, by their places in the lists of metrics and of strata, counted from 1: what two
-- arms, scorers or services have of one is added up. Of one stratum the place is known.
SELECT {code} AS code, toUInt32(hours) AS hour, toUInt32({stratum}) AS stratum, toInt64(cluster) AS bucket,
    toUInt64(sum(requests)) AS n, sum(total) AS x, sum(squares) AS xx{bases}
FROM ({rows})
WHERE requests > 0
GROUP BY code, hour, stratum, bucket
