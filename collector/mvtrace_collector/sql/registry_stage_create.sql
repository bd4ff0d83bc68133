-- The registry events of one segment, with what their bytes prove.
CREATE OR REPLACE TEMPORARY TABLE stage_registry
(
    project     LowCardinality(String),
    received_ms UInt64,
    seq         UInt64,
    row         UInt64,
    event_name  LowCardinality(String),
    digest      String,
    name        String,
    labels      String,
    provenance  String,
    body        String,
    problem     String,
    actor       String,
    actor_label String
)
ENGINE = Memory
