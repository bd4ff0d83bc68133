-- Which request each trace of one segment belongs to.
CREATE OR REPLACE TEMPORARY TABLE stage_ids
(
    project     LowCardinality(String),
    trace_id    String,
    claimed     String,
    is_trace    Bool,
    request_id  FixedString(16),
    month       UInt32,
    first_ms    UInt64
)
ENGINE = Memory
