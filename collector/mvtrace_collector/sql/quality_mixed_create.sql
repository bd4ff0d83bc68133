-- Which requests of one hour more than one version served.
CREATE OR REPLACE TEMPORARY TABLE stage_mixed (request_id FixedString(16)) ENGINE = Memory
