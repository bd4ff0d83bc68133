-- One row per search of an index by a request: which state of it was declared, which was queried, and
-- what came back. A view over the records.
CREATE VIEW IF NOT EXISTS {database}.index_usage
SQL SECURITY INVOKER
AS SELECT
    project,
    request_id,
    request_id_text,
    started_at,
    service,
    environment,
    route,
    composite_version,
    substring(composite_version, 1, 12) AS version,
    arm,
    one.name AS index_name,
    one.digest AS digest,
    one.expected AS expected,
    toUInt8(ifNull(one.digest != one.expected, 0)) AS is_drifted,
    one.native_version AS native_version,
    one.size AS size,
    one.top_k AS top_k,
    length(one.documents) AS documents,
    arrayMap(d -> d.id, one.documents) AS document_ids,
    if(empty(one.documents), NULL, one.documents[1].score) AS first_score
FROM
(
    SELECT
        project,
        request_id,
        request_id_text,
        started_at,
        service,
        environment,
        route,
        composite_version,
        arm,
        JSONExtract(record, 'index_snapshots', 'Array(Tuple(
            name String, digest Nullable(String), expected Nullable(String), native_version Nullable(String),
            size Nullable(UInt64), top_k Nullable(UInt64),
            documents Array(Tuple(id String, score Nullable(Float64)))))') AS told
    FROM {database}.requests FINAL
)
ARRAY JOIN told AS one
