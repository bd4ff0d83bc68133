-- The hours of the requests that evaluations turned out to be of.
SELECT DISTINCT project, toUInt32(intDiv(reinterpretAsUInt64(reverse(substring(owner, 1, 6))), 3600000)) AS hour
FROM stage_owners
