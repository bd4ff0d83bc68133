-- Entries that no reader can read, and why.
CREATE OR REPLACE TEMPORARY TABLE stage_unreadable (digest String, problem String) ENGINE = Memory
