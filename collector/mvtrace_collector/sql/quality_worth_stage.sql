-- What stands for the values is quality_values.sql, of one hour.
INSERT INTO stage_worth (request_id, environment, service, composite_version, arm, rollout, unit, clustered, planned_share, metric, scorer, value, base)
SELECT request_id, environment, service, composite_version, arm, rollout, unit, clustered, planned_share, metric, scorer, assumeNotNull(value), base
FROM ({values})
