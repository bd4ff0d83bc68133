-- Which requests are the first of their unit, or have its first bad event.
CREATE OR REPLACE TEMPORARY TABLE stage_firsts (metric String, request_id FixedString(16), scorer String) ENGINE = Memory
