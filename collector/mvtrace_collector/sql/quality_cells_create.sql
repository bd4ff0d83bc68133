-- The cells of one hour, as its raw rows say now.
CREATE OR REPLACE TEMPORARY TABLE stage_cells
(
    environment String, service String, composite_version String, measure String, rollout String, arm String, hour UInt32, phase String, scorer String,
    cluster Int64, requests UInt64, total Float64, squares Float64, base Float64, base_squares Float64, cross Float64
)
ENGINE = Memory
