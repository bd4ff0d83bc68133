SELECT DISTINCT month FROM stage_records WHERE problem = '' ORDER BY month
