-- Episodes of drift, the one that was met last first; an empty text stands for any value.
SELECT
    id,
    newest.2 AS service,
    newest.3 AS environment,
    newest.4 AS kind,
    newest.5 AS name,
    newest.6 AS what,
    newest.7 AS expected,
    newest.8 AS observed,
    lower(hex(newest.9)) AS first,
    lower(hex(newest.10)) AS last,
    newest.11 AS requests,
    if(ended IS NULL, NULL, lower(hex(assumeNotNull(ended)))) AS ended_by
FROM
(
    SELECT
        lower(hex(episode_id)) AS id,
        argMax(
            (state, service, environment, kind, name, what, expected, observed, first_request, last_request, requests),
            revision
        ) AS newest,
        argMax(tuple(ended_by), revision).1 AS ended
    FROM drift_episodes
    WHERE project = {project:String}
        AND startsWith(lower(hex(episode_id)), {prefix:String})
    GROUP BY episode_id
)
WHERE newest.1 != 'withdrawn'
    AND newest.10 >= unhex({first:String})
    AND newest.9 <= unhex({last:String})
    AND ({service:String} = '' OR newest.2 = {service:String})
    AND ({environment:String} = '' OR newest.3 = {environment:String})
    AND ({kind:String} = '' OR newest.4 = {kind:String})
    AND ({only_open:UInt8} = 0 OR newest.1 = 'open')
ORDER BY
    newest.10 DESC,
    id
LIMIT {limit:UInt32}
