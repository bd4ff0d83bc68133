INSERT INTO stage_firsts (metric, request_id, scorer)
SELECT what, at, scored_by FROM ({met})
