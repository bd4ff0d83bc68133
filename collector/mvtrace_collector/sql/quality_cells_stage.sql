-- What stands for the cells is quality_cells.sql, of one hour.
INSERT INTO stage_cells (environment, service, composite_version, measure, rollout, arm, hour, phase, scorer, cluster, requests, total, squares, base, base_squares, cross)
{cells}
