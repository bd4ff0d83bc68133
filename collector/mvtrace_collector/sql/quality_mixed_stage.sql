-- What stands for them is quality_mixed.sql, of one hour.
INSERT INTO stage_mixed (request_id)
{mixed}
