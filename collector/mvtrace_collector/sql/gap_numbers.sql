-- Which numbers of a range are stored after all, as runs without a hole. The times come from the
-- records on both sides: the ids of one process rise with its numbers, and the id is the key.
SELECT min(number) AS first, max(number) AS last, argMin(began, number) AS first_ms, argMax(began, number) AS last_ms
FROM
(
    SELECT number, began, number - row_number() OVER (ORDER BY number) AS island
    FROM
    (
        SELECT sequence AS number, min(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))) AS began
        FROM {database}.requests
        WHERE project = {project:String}
            AND request_id >= unhex({lowest:String})
            AND request_id <= unhex({highest:String})
            AND producer_id = unhex({producer:String})
            AND sequence BETWEEN {first:UInt64} AND {last:UInt64}
        GROUP BY number
    )
)
GROUP BY island
ORDER BY first
SETTINGS max_threads = 1
