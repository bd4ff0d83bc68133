SELECT uniqExact((project, request_id, kind, digest, piece)) AS found
FROM {database}.payloads
WHERE (project, request_id) IN (SELECT project, toFixedString(request_id, 16) FROM stage_payloads WHERE flaw = '' AND NOT is_erased AND NOT is_expired)
    AND (kind, digest, piece) IN (SELECT said.kind, said.digest, toUInt16(said.piece) FROM stage_payloads)
