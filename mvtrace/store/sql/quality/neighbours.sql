-- What some producers recorded, each between two moments: requests of the baseline, of the canary, of any.
SELECT producer, countIf(of_side = 0) AS baseline, countIf(of_side = 1) AS canary, count() AS served
FROM
(
    SELECT producer, multiIf({key} = {canary:String}, 1, {key} = {baseline:String}, 0, 2) AS of_side
    FROM
    (
        SELECT request_id, lower(hex(argMax(producer_id, revision))) AS producer, argMax(ifNull(toString(composite_version), ''), revision) AS composite_version,
            argMax(ifNull(toString(arm), ''), revision) AS arm, indexOf({producers:Array(String)}, producer) AS place,
            toInt64(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))) AS began
        FROM requests
        WHERE project = {project:String}
            AND request_id >= unhex({first:String})
            AND request_id <= unhex({last:String})
            AND has({producers:Array(String)}, lower(hex(producer_id)))
        GROUP BY request_id
    )
    WHERE began BETWEEN {froms:Array(Int64)}[place] AND {untils:Array(Int64)}[place]
)
GROUP BY producer
