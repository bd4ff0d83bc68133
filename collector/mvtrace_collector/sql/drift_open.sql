-- How many episodes are open, and how many requests they affected, by kind; of all projects.
SELECT newest.2, newest.3, count(), sum(newest.4)
FROM
(
    SELECT argMax((state, kind, basis, requests, last_request), revision) AS newest
    FROM {database}.drift_episodes
    GROUP BY project, episode_id
)
WHERE newest.1 = 'open' AND newest.5 >= unhex({quiet:String})
GROUP BY newest.2, newest.3
ORDER BY newest.2, newest.3
