-- The scores of one segment; made only where some came. A flaw is why one may not be stored.
CREATE OR REPLACE TEMPORARY TABLE stage_scores
(
    project     LowCardinality(String),
    received_ms UInt64,
    request_id  String,
    month       UInt32,
    name        String,
    scorer      String,
    event_id    FixedString(16),
    source      String,
    voter       String,
    value       Nullable(Float64),
    label       Nullable(String),
    scored_ns   UInt64,
    actor       String,
    flaw        String,
    body        String
)
ENGINE = Memory
