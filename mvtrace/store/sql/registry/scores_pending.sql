-- How many scores of a time have no stored request, of how many requests, and since when.
SELECT
    count() AS scores,
    uniqExact(request_id) AS requests,
    toString(toUnixTimestamp64Nano(min(received_at_ns))) AS oldest
FROM
(
    SELECT request_id, event_id, min(toDateTime64(received_at, 9, 'UTC')) AS received_at_ns
    FROM scores
    WHERE project = {project:String}
        AND scored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
        AND scored_at <= fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')
        AND ({name:String} = '' OR name = {name:String})
        AND request_id NOT IN
        (
            SELECT request_id
            FROM requests
            WHERE project = {project:String}
                AND request_id IN
                (
                    SELECT request_id
                    FROM scores
                    WHERE project = {project:String}
                        AND scored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
                        AND scored_at <= fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')
                )
        )
    GROUP BY
        request_id,
        event_id
)
