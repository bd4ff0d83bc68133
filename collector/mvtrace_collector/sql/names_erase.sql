-- An erased request is found by its trace id alone.
ALTER TABLE {database}.request_aliases
    DELETE WHERE kind != 'trace_id' AND (project, request_id) IN (SELECT project, request_id FROM {database}.erasures WHERE reach != 'subject')
SETTINGS mutations_sync = 1
