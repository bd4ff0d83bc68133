-- The hours of which requests or scores came in since some time: since {reached} of {projects}, and
-- since {others_ms} of any other project.
WITH project -> fromUnixTimestamp64Milli(greatest(0, if(has({projects:Array(String)}, project),
        arrayElement({reached:Array(Int64)}, toUInt64(indexOf({projects:Array(String)}, project))), {others_ms:Int64}) - {slack_ms:Int64}), 'UTC') AS since_of
SELECT project, hour
FROM
(
    SELECT project, toUInt32(intDiv(reinterpretAsUInt64(reverse(substring(request_id, 1, 6))), 3600000)) AS hour
    FROM {database}.requests
    WHERE received_at >= since_of(toString(project)) AND ({project:String} = '' OR project = {project:String})
        AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
    GROUP BY project, hour
    UNION ALL
    SELECT project, toUInt32(intDiv(reinterpretAsUInt64(reverse(substring(request_id, 1, 6))), 3600000)) AS hour
    FROM {database}.scores
    WHERE received_at >= since_of(toString(project)) AND ({project:String} = '' OR project = {project:String})
        AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
    GROUP BY project, hour
    UNION ALL -- from which, and to which, an evaluation was moved
    SELECT project, toUInt32(intDiv(reinterpretAsUInt64(reverse(substring(request_id, 1, 6))), 3600000)) AS hour
    FROM {database}.evaluated_traces
    WHERE ({project:String} = '' OR project = {project:String})
        AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
        AND (project, trace_id) IN
            (SELECT project, trace_id FROM {database}.evaluated_traces WHERE received_at >= since_of(toString(project)))
    GROUP BY project, hour
)
GROUP BY project, hour
ORDER BY project, hour
LIMIT 1000000
