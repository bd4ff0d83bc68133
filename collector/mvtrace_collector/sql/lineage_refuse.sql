-- A derivation that may not be stored does not become an entry either.
CREATE OR REPLACE TEMPORARY TABLE stage_registry ENGINE = Memory AS
SELECT registry.* REPLACE (if(refused.why = '', registry.problem, refused.why) AS problem)
FROM stage_registry AS registry
LEFT ANY JOIN (SELECT project, source AS digest, any(problem) AS why FROM stage_lineage WHERE problem != '' AND source != '' GROUP BY project, source) AS refused
ON registry.project = refused.project AND registry.digest = refused.digest AND registry.event_name = 'mvtrace.entry'
