-- What no reader can read does not become an entry: a digest is of a body, whosever it is.
CREATE OR REPLACE TEMPORARY TABLE stage_registry ENGINE = Memory AS
SELECT registry.* REPLACE (if(unreadable.problem = '', registry.problem, unreadable.problem) AS problem)
FROM stage_registry AS registry
LEFT ANY JOIN stage_unreadable AS unreadable
ON registry.digest = unreadable.digest AND registry.event_name = 'mvtrace.entry'
