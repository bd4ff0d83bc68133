-- Which units one hour met, and which bad events they had, by which request first.
CREATE OR REPLACE TEMPORARY TABLE stage_met
(
    rollout String, environment String, service String, metric String, unit FixedString(16), request_id FixedString(16), scorer String
)
ENGINE = Memory
