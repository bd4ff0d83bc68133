-- The decisions of one segment, judged; a problem is why one may not be stored.
CREATE OR REPLACE TEMPORARY TABLE stage_decisions
(
    project       LowCardinality(String),
    name          LowCardinality(String),
    event_id      FixedString(16),
    at_ns         Int64,
    seq           UInt64,
    received_ms   UInt64,
    actor         String,
    actor_label   String,
    body          String,
    problem       String,
    is_new        Bool,
    service       String,
    environment   String,
    action        String,
    composite     String,
    share         Float64,
    claimed_actor String,
    reason        String
)
ENGINE = Memory
