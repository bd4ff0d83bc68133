-- Content that came in one segment; made only where some did.
CREATE OR REPLACE TEMPORARY TABLE stage_payloads
(
    project     LowCardinality(String),
    received_ms UInt64,
    request_id  String,
    month       UInt32,
    subject     String,
    flaw        String,
    is_erased   Bool,
    is_expired  Bool,
    erased_at   DateTime64(3, 'UTC'),
    erased_by   String,
    reason      String,
    said        Tuple(request_id String, kind String, digest String, piece UInt32, pieces UInt32, subject String, mode String, key_id String, nonce String, body String, bytes UInt64, is_cut Bool, redactions Map(String, UInt64))
)
ENGINE = Memory
