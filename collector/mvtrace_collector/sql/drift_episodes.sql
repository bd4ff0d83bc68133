-- The episodes of one slot and value, as they are known by now.
SELECT lower(hex(newest.1)) AS first, lower(hex(newest.2)) AS last, newest.3 AS requests, if(ended IS NULL, NULL, lower(hex(assumeNotNull(ended)))) AS ended_by
FROM
(
    SELECT argMax((first_request, last_request, requests, state), revision) AS newest, argMax(tuple(ended_by), revision).1 AS ended
    FROM {database}.drift_episodes
    WHERE project = {project:String} AND service = {service:String} AND environment = {environment:String}
        AND kind = {kind:String} AND name = {name:String} AND what = {what:String}
        AND expected = {expected:String} AND observed = {observed:String}
    GROUP BY episode_id
)
WHERE newest.4 != 'withdrawn'
ORDER BY first
LIMIT 10000
