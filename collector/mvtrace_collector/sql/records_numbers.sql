-- Which numbers of which producers the segment's records have, as runs without a hole, and when the
-- requests at both ends of a run began, and the first and the last of all of them.
SELECT project, lower(hex(producer_id)) AS producer, min(number) AS first, max(number) AS last,
    argMin(began, number) AS first_ms, argMax(began, number) AS last_ms, any(service) AS service, any(environment) AS environment,
    min(lowest) AS lowest_ms, max(highest) AS highest_ms
FROM
(
    SELECT project, producer_id, number, began, service, environment, lowest, highest,
        number - row_number() OVER (PARTITION BY project, producer_id ORDER BY number) AS island
    FROM
    (
        SELECT project, producer_id, toUInt64(assumeNotNull(parsed.sequence)) AS number,
            min(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))) AS began, began AS lowest,
            max(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))) AS highest,
            any(ifNull(parsed.service, '')) AS service, any(ifNull(parsed.environment, '')) AS environment
        FROM stage_records
        WHERE row IN (SELECT row FROM stage_verdicts WHERE problem = '') AND parsed.sequence > 0
        GROUP BY project, producer_id, number
    )
)
GROUP BY project, producer_id, island
ORDER BY project, producer, first
SETTINGS max_threads = 1
