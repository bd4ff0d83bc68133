-- What stands for them is quality_firsts.sql, of one hour.
INSERT INTO stage_firsts (metric, request_id, scorer)
{firsts}
