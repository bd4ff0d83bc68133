-- The spans of one segment as the engine read them; gone with the session. One is sound if its
-- trace id and span id can be ids.
CREATE OR REPLACE TEMPORARY TABLE stage_spans
(
    project         LowCardinality(String),
    received_ms     UInt64,
    seq             UInt64,
    is_sound        Bool,
    claimed         String,
    resource        LowCardinality(String),
    scope           LowCardinality(String),
    schema_url      LowCardinality(String),
    trace_id        String,
    span_id         String,
    parent_id       String,
    trace_state     String,
    trace_flags     UInt32,
    name            String,
    kind            Int32,
    start_ns        UInt64,
    end_ns          UInt64,
    status_code     Int32,
    status_message  String,
    keys            Array(LowCardinality(String)),
    kinds           Array(Enum8('' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'm' = 6, 'y' = 7)),
    strings         Array(String),
    ints            Array(Int64),
    doubles         Array(Float64),
    bools           Array(Bool),
    others          Array(String),
    span_events     Array(Tuple(time_unix_nano UInt64, name String, attributes {attributes})),
    span_links      Array(Tuple(trace_id String, span_id String, trace_state String, attributes {attributes})),
    dropped_attributes UInt32,
    dropped_events  UInt32,
    dropped_links   UInt32
)
ENGINE = Memory
