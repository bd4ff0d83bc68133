-- The same of a segment without any.
CREATE OR REPLACE TEMPORARY TABLE stage_homes
(
    project  LowCardinality(String),
    trace_id FixedString(16),
    home     FixedString(16)
)
ENGINE = Memory
