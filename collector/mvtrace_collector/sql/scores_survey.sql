SELECT
    uniqExactIf((project, event_id), flaw = '') AS sound,
    groupUniqArrayIf(month, flaw = '') AS months,
    countIf(flaw != '') AS refused
FROM stage_scores
