-- The minutes of which requests came in since some time.
SELECT project, intDiv(reinterpretAsUInt64(reverse(substring(request_id, 1, 6))), 60000) AS minute
FROM {database}.requests
WHERE received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    AND ({project:String} = '' OR project = {project:String})
    AND request_id >= unhex({first:String})
    AND request_id <= unhex({last:String})
GROUP BY project, minute
ORDER BY project, minute
LIMIT 1000000
