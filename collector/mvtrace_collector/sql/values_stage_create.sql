-- The different nested values of one segment: kind and bytes, and the JSON text they mean. The first
-- row is of no value: transform() wants at least one pair.
CREATE OR REPLACE TEMPORARY TABLE stage_values (raw String, json String) ENGINE = Memory AS SELECT '', 'null'
