-- The log records of one segment that mean something to the store; gone with the session.
-- An event of no trace stands for a trace of its own, by the digest of what it says (event_id).
CREATE OR REPLACE TEMPORARY TABLE stage_logs
(
    project         LowCardinality(String),
    received_ms     UInt64,
    seq             UInt64,
    row             UInt64,
    event_id        FixedString(16),
    claimed         String,
    event_name      LowCardinality(String),
    resource        LowCardinality(String),
    scope           LowCardinality(String),
    trace_id        String,
    given_trace_id  String,
    span_id         String,
    time_ns         UInt64,
    severity_number Int32,
    severity_text   LowCardinality(String),
    body            String,
    body_kind       Enum8('' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'm' = 6, 'y' = 7),
    attributes      {attributes},
    actor           LowCardinality(String),
    actor_label     LowCardinality(String),
    grants          LowCardinality(String),
    ahead_ms        Int64
)
ENGINE = Memory
