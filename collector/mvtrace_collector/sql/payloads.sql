-- Content, apart from all evidence: it expires and can be erased.
INSERT INTO {database}.payloads (project, request_id, kind, digest, piece, pieces, subject, mode, key_id, nonce, body, bytes, is_cut, redactions, retention_days, received_at)
SETTINGS {insert_settings}
SELECT
    project, toFixedString(request_id, 16), said.kind, said.digest, said.piece, said.pieces, subject, said.mode, said.key_id,
    tryBase64Decode(said.nonce), tryBase64Decode(said.body), said.bytes, said.is_cut, said.redactions,
    {retention_days:UInt16}, fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC')
FROM stage_payloads
WHERE flaw = '' AND NOT is_erased AND NOT is_expired AND month IN {months:Array(UInt32)}
