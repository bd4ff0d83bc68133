-- The request records of one segment, parsed once, each with what is to become of it.
CREATE OR REPLACE TEMPORARY TABLE stage_records
(
    project     LowCardinality(String),
    received_ms UInt64,
    seq         UInt64,
    row         UInt64,
    body        String,
    digest      FixedString(32),
    request_id  String,
    producer_id String,
    revision    UInt64,
    month       UInt32,
    problem     String,
    known       Bool,
    parsed      {record}
)
ENGINE = Memory
