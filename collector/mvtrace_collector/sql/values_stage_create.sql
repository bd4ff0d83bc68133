-- The different nested values of one segment: kind and bytes, and the JSON text they mean.
CREATE OR REPLACE TEMPORARY TABLE stage_values (raw String, json String) ENGINE = Memory
