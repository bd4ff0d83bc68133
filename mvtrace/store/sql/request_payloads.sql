-- What content of one request is kept, and how: a row a text, never the text. What is past its time
-- may still be in a part that a merge has not dropped.
SELECT kind, digest, any(mode) AS mode, any(subject) AS subject, any(bytes) AS bytes, any(is_cut) AS is_cut, any(redactions) AS redactions
FROM payloads
WHERE project = {project:String} AND request_id = unhex({request_id:String})
    AND reinterpretAsUInt64(reverse(substring(request_id, 1, 6))) + retention_days * 86400000 > toUnixTimestamp64Milli(now64(3))
GROUP BY kind, digest
ORDER BY kind, digest
