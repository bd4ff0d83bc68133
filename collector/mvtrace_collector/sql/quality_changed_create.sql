-- What of that is not stored so; zero bytes where something stored is no more.
CREATE OR REPLACE TEMPORARY TABLE stage_changed
(
    rollout String, environment String, service String, metric String, unit FixedString(16), request_id FixedString(16), was FixedString(16)
)
ENGINE = Memory
