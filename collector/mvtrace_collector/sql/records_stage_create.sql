-- The request records of one segment, parsed once; a flaw is why one cannot be evidence.
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
    flaw        String,
    made_at     DateTime64(3, 'UTC'),
    parsed      {record}
)
ENGINE = Memory
