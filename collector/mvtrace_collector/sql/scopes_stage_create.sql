-- The different resources and scopes of one segment, decoded.
CREATE OR REPLACE TEMPORARY TABLE stage_scopes
(
    resource            LowCardinality(String),
    scope               LowCardinality(String),
    service             LowCardinality(String),
    environment         LowCardinality(String),
    scope_name          LowCardinality(String),
    scope_version       LowCardinality(String),
    resource_attributes Map(LowCardinality(String), String),
    scope_attributes    Map(LowCardinality(String), String),
    content_above       Array(String)
)
ENGINE = Memory
