-- Which of the tables that are mostly empty hold anything of a project.
(
    SELECT 'events' AS name
    FROM events
    WHERE project = {project:String}
    LIMIT 1
)
UNION ALL
(
    SELECT 'quarantine' AS name
    FROM quarantine
    WHERE project = {project:String}
    LIMIT 1
)
UNION ALL
(
    SELECT 'deployments' AS name
    FROM deployments
    WHERE project = {project:String}
    LIMIT 1
)
UNION ALL
(
    SELECT 'scores' AS name
    FROM scores
    WHERE project = {project:String}
    LIMIT 1
)
UNION ALL
(
    SELECT 'eval_results' AS name
    FROM eval_results
    WHERE project = {project:String}
    LIMIT 1
)
UNION ALL
(
    SELECT 'derivations' AS name
    FROM registry_entries
    WHERE project = {project:String}
        AND kind = 'derivation'
    LIMIT 1
)
