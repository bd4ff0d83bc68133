-- When the oldest of the requests and scores of a time was received that may not be in the roll-up yet (Unix
-- milliseconds), and how many there are.
SELECT min(received_ms) AS oldest_ms, count() AS waiting
FROM
(
    SELECT toUnixTimestamp64Milli(received_at) AS received_ms
    FROM requests
    WHERE project = {project:String} AND received_at > fromUnixTimestamp64Milli({swept_ms:Int64}, 'UTC')
        AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
    UNION ALL
    SELECT toUnixTimestamp64Milli(received_at)
    FROM scores
    WHERE project = {project:String} AND received_at > fromUnixTimestamp64Milli({swept_ms:Int64}, 'UTC')
        AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
)
