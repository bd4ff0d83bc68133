-- One row per call of a request: a model asked, an index searched, a tool run, as its record tells it.
-- A view over the records, so that it knows what was captured even where no span was kept.
CREATE VIEW IF NOT EXISTS {database}.request_calls
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
    number AS call,
    one.kind AS kind,
    one.name AS name,
    one.component AS component,
    one.provider AS provider,
    one.model_requested AS model_requested,
    one.model_served AS model_served,
    one.prompt.template_digest AS prompt_digest,
    one.sampling.temperature AS temperature,
    one.seed AS seed,
    one.usage.input_tokens AS input_tokens,
    one.usage.output_tokens AS output_tokens,
    one.finish_reason AS finish_reason,
    one.outcome AS outcome,
    one.error_type AS error_type,
    one.duration_ns / 1e6 AS duration_ms,
    one.time_to_first_chunk_ns / 1e6 AS first_chunk_ms,
    one.verdict AS verdict,
    one.cache_origin AS cache_origin
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
        JSONExtract(record, 'calls', 'Array(Tuple(
            kind String, name String, component Nullable(String), provider Nullable(String),
            model_requested Nullable(String), model_served Nullable(String),
            prompt Tuple(template_digest Nullable(String)), sampling Tuple(temperature Nullable(Float64)),
            seed Nullable(Int64), usage Tuple(input_tokens Nullable(UInt64), output_tokens Nullable(UInt64)),
            finish_reason Nullable(String), outcome Nullable(String), error_type Nullable(String),
            duration_ns Nullable(UInt64), time_to_first_chunk_ns Nullable(UInt64),
            verdict Nullable(String), cache_origin Nullable(String)))') AS told
    FROM {database}.requests FINAL
)
ARRAY JOIN
    told AS one,
    arrayEnumerate(told) AS number
