-- What producers say of themselves in one segment; made only where one does.
CREATE OR REPLACE TEMPORARY TABLE stage_producers
(
    project     LowCardinality(String),
    received_ms UInt64,
    producer_id String,
    time_ns     UInt64,
    flaw        String,
    body        String,
    said        Tuple(producer_id String, state String, last UInt64, started_at String, last_at String, ended_at String, service String, environment String, losses Array(Tuple(reason String, count UInt64, first UInt64, last UInt64)))
)
ENGINE = Memory
