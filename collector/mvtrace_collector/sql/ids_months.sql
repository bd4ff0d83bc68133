SELECT DISTINCT month FROM stage_ids ORDER BY month
