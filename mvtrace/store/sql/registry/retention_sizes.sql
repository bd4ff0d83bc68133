-- How much there is to be read, about.
SELECT
    (SELECT count() FROM components WHERE project = {project:String}) AS components,
    (SELECT count() FROM composites WHERE project = {project:String}) AS versions,
    (SELECT count() FROM governance_events WHERE project = {project:String}) AS steps
