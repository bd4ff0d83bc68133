SELECT request_id, environment, service, composite_version, arm, rollout, unit, clustered, planned_share, metric, scorer, value, base
FROM stage_worth
