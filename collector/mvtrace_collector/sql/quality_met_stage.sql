-- What stands for the units is quality_met.sql, of one hour.
INSERT INTO stage_met (rollout, environment, service, metric, unit, request_id, scorer)
SELECT rollout, environment, service, what, unit, at, scored_by FROM ({met})
