SELECT
    uniqExactIf((project, digest), problem = '' AND event_name = 'mvtrace.content') AS contents,
    uniqExactIf((project, digest), problem = '' AND event_name = 'mvtrace.component') AS components,
    uniqExactIf((project, digest), problem = '' AND event_name = 'mvtrace.composite') AS composites,
    uniqExactIf((project, digest), problem = '' AND event_name = 'mvtrace.entry') AS registry_entries,
    arraySum(one -> one.3, groupUniqArrayIf((project, digest, JSONLength(body, 'results')), problem = '' AND event_name = 'mvtrace.entry' AND name = 'results')) AS eval_results,
    uniqExactIf((project, digest), problem = '' AND event_name = 'mvtrace.entry' AND name = 'derivation') AS derivations,
    countIf(problem != '') AS refused
FROM stage_registry
