-- What content of one request is kept, and how: a row a text, never the text.
SELECT kind, digest, any(mode) AS mode, any(subject) AS subject, any(bytes) AS bytes, any(is_cut) AS is_cut, any(redactions) AS redactions
FROM payloads
WHERE project = {project:String} AND request_id = unhex({request_id:String})
GROUP BY kind, digest
ORDER BY kind, digest
