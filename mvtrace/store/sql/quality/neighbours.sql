-- What some producers recorded, each between two moments: requests of the baseline, of the canary, of any.
SELECT producer, countIf(of_side = 0) AS baseline, countIf(of_side = 1) AS canary, count() AS served
FROM
(
    SELECT producer, multiIf({key} = {canary:String}, 1, {key} = {baseline:String}, 0, 2) AS of_side
    FROM
    (
        SELECT request_id, lower(hex(argMax(producer_id, revision))) AS producer, argMax(ifNull(toString(composite_version), ''), revision) AS composite_version,
            argMax(ifNull(toString(arm), ''), revision) AS arm,
            toInt64(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))) AS began
        FROM requests
        WHERE project = {project:String}
            AND request_id >= unhex({first:String})
            AND request_id <= unhex({last:String})
            AND lower(hex(producer_id)) IN {producers:Array(String)}
        GROUP BY request_id
    )
    WHERE began >= transform(producer, {producers:Array(String)}, {froms:Array(Int64)}, toInt64(0))
        AND began <= transform(producer, {producers:Array(String)}, {untils:Array(Int64)}, toInt64(-1))
)
GROUP BY producer
