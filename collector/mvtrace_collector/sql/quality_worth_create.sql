-- What each request of one hour is worth, where that is not too much to hold.
CREATE OR REPLACE TEMPORARY TABLE stage_worth
(
    request_id FixedString(16), environment LowCardinality(String), service LowCardinality(String), composite_version LowCardinality(String),
    arm LowCardinality(String), rollout LowCardinality(String), unit FixedString(16), clustered FixedString(16), planned_share Nullable(Float64),
    metric LowCardinality(String), scorer LowCardinality(String), value Float64, base Float64
)
ENGINE = Memory
