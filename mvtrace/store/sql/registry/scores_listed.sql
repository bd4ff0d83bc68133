-- The scores given in a time, the latest first: of each request, name and scorer the one that holds.
-- An empty text stands for any. With {pending} only those whose request is not stored.
SELECT
    concat(substring(digits, 1, 8), '-', substring(digits, 9, 4), '-', substring(digits, 13, 4), '-', substring(digits, 17, 4), '-', substring(digits, 21, 12)) AS request_id,
    title AS name,
    scorer,
    latest.1 AS source,
    latest.2 AS value,
    latest.3 AS label,
    toString(latest.4) AS scored_at,
    latest.5 AS delay_ms,
    revisions
FROM
(
    SELECT
        lower(hex(request_id)) AS digits,
        toString(name) AS title,
        scorer,
        argMax((toString(source), value, label, toUnixTimestamp64Nano(scored_at), delay_ms), (scored_at, event_id)) AS latest,
        uniqExact(event_id) AS revisions
    FROM scores
    WHERE project = {project:String}
        AND scored_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
        AND scored_at <= fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')
        AND ({name:String} = '' OR name = {name:String})
        AND ({request:String} = '' OR request_id = toFixedString(unhex({request:String}), 16))
        AND ({pending:UInt8} = 0 OR request_id NOT IN
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
        ))
    GROUP BY
        digits,
        title,
        scorer
)
ORDER BY
    latest.4 DESC,
    digits,
    title,
    scorer
LIMIT {limit:UInt32}
