-- The nodes whose edges are asked for next.
CREATE OR REPLACE TEMPORARY TABLE stage_lineage_near
(
    project String,
    node    String
)
ENGINE = Memory
