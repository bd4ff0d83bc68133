-- The hours of which requests or scores came in since some time.
SELECT project, hour
FROM
(
    SELECT project, toUInt32(intDiv(reinterpretAsUInt64(reverse(substring(request_id, 1, 6))), 3600000)) AS hour
    FROM {database}.requests
    WHERE received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') AND ({project:String} = '' OR project = {project:String})
        AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
    GROUP BY project, hour
    UNION ALL
    SELECT project, toUInt32(intDiv(reinterpretAsUInt64(reverse(substring(request_id, 1, 6))), 3600000)) AS hour
    FROM {database}.scores
    WHERE received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') AND ({project:String} = '' OR project = {project:String})
        AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
    GROUP BY project, hour
)
GROUP BY project, hour
ORDER BY project, hour
LIMIT 1000000
