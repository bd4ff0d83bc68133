-- What of the segment's content is to be stored, and what is not.
SELECT
    uniqExactIf((project, request_id, said.kind, said.digest, said.piece), flaw = '' AND NOT is_erased AND NOT is_expired) AS sound,
    groupUniqArrayIf(month, flaw = '' AND NOT is_erased AND NOT is_expired) AS months,
    countIf(flaw != '') AS refused,
    countIf(flaw = '' AND is_erased AND erased_by != '') AS erased
FROM stage_payloads
