SELECT
    uniqExactIf((project, digest), problem = '' AND event_name = 'mvtrace.content') AS contents,
    uniqExactIf((project, digest), problem = '' AND event_name = 'mvtrace.component') AS components,
    uniqExactIf((project, digest), problem = '' AND event_name = 'mvtrace.composite') AS composites,
    countIf(problem != '') AS refused
FROM stage_registry
