-- How far an erasure reaches in a request. `request`: everything, since the request's own record names
-- the subject. `names`: content about the subject, and what the request was called (its record names
-- nobody). `subject`: content about the subject alone. Who may send could write somebody's digest beside
-- another's request: only the record, of which the first one counts, says whose the whole of it is.
ALTER TABLE {database}.erasures
    ADD COLUMN IF NOT EXISTS reach Enum8('request' = 0, 'names' = 1, 'subject' = 2) AFTER reason,
    MODIFY ORDER BY (project, request_id, subject, erased_at, reach)
