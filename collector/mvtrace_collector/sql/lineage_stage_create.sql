-- The edges of one segment, with why those of a refused claim may not be stored.
CREATE OR REPLACE TEMPORARY TABLE stage_lineage
(
    project     LowCardinality(String),
    child       String,
    parent      String,
    role        String,
    source      String,
    event       String,
    received_ms UInt64,
    problem     String
)
ENGINE = Memory
