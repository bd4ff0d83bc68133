-- Which request each trace of one segment belongs to; is_new where the store has to learn it.
CREATE OR REPLACE TEMPORARY TABLE stage_ids
(
    project     LowCardinality(String),
    trace_id    String,
    claimed     String,
    request_id  FixedString(16),
    month       UInt32,
    first_ms    UInt64,
    is_new      Bool
)
ENGINE = Memory
