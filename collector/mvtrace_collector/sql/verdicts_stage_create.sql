-- What is to become of the segment's records: a problem, or that the store needs the row.
CREATE OR REPLACE TEMPORARY TABLE stage_verdicts (row UInt64, problem String, is_new Bool) ENGINE = Memory
