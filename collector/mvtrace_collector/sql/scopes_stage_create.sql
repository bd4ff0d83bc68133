-- The different resources and scopes of one segment, decoded. The key of content digests is a column
-- here: a parameter would be quoted in the engine's error messages and in a server's query log.
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
    content_above       Array(String),
    digest_key          LowCardinality(String)
)
ENGINE = Memory
