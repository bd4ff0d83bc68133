-- How a request came to its arm: the rollout that drew, the unit it was drawn for (a keyed digest, zero
-- bytes where there is none) and the share that was planned for the canary then. Read by comparisons,
-- which count each unit once and hold what was observed against what was planned.
ALTER TABLE {database}.requests
    ADD COLUMN IF NOT EXISTS rollout LowCardinality(String) AFTER arm,
    ADD COLUMN IF NOT EXISTS unit FixedString(16) AFTER rollout,
    ADD COLUMN IF NOT EXISTS planned_share Nullable(Float64) AFTER unit
