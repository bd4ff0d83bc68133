-- The episodes that requests of some minutes may change: those that lie there, and those that are open.
SELECT newest.2, newest.3, newest.4, newest.5, newest.6, newest.7, newest.8
FROM
(
    SELECT argMax((state, service, environment, kind, name, what, expected, observed, first_request, last_request), revision) AS newest,
        argMax(tuple(ended_by), revision).1 AS ended
    FROM {database}.drift_episodes
    WHERE project = {project:String}
    GROUP BY episode_id
)
WHERE newest.1 != 'withdrawn'
    AND newest.9 <= unhex({last:String})
    AND ((newest.1 = 'open' AND newest.10 >= unhex({quiet:String})) OR greatest(newest.10, ifNull(ended, newest.10)) >= unhex({first:String}))
GROUP BY newest.2, newest.3, newest.4, newest.5, newest.6, newest.7, newest.8
ORDER BY max(newest.10) DESC
LIMIT 1000
