-- What became of an episode that was found to begin earlier, or not to be one.
SELECT
    argMax(tuple(superseded_by), revision).1 AS heir,
    if(heir IS NULL, '', lower(hex(assumeNotNull(heir)))) AS id
FROM drift_episodes
WHERE project = {project:String}
    AND startsWith(lower(hex(episode_id)), {prefix:String})
GROUP BY episode_id
HAVING argMax(state, revision) = 'withdrawn'
LIMIT 2
