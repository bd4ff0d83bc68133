-- Which producers speak in this segment, and how many of their words cannot be.
SELECT groupUniqArrayIf(lower(hex(producer_id)), flaw = '') AS producers, uniqExactIf((project, producer_id), flaw = '') AS sound, countIf(flaw != '') AS refused
FROM stage_producers
