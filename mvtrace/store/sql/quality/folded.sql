-- The same where nothing is there twice: a row an hour, and what its buckets have as lists.
SELECT {code} AS code, toUInt32(hours) AS hour, toUInt32({stratum}) AS stratum, buckets AS bucket,
    bucket_requests AS n, bucket_total AS x, bucket_squares AS xx{bases}
FROM ({rows})
WHERE requests > 0
