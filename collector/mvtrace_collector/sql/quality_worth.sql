SELECT request_id, environment, service, composite_version, arm, rollout, unit, planned_share, metric, scorer, value, base
FROM stage_worth
