-- What a span of any dialect says of a call, beside the columns there were: filled by the loader from
-- schemas/semconv/dialects.json. Numeric sampling parameters are in a Map by their OpenTelemetry names;
-- documents are what a retrieval found, with the score it gave. `shown` has all of it at its end.
ALTER TABLE {database}.spans
    ADD COLUMN IF NOT EXISTS cache_read_tokens Nullable(UInt64) AFTER output_tokens,
    ADD COLUMN IF NOT EXISTS cache_write_tokens Nullable(UInt64) AFTER cache_read_tokens,
    ADD COLUMN IF NOT EXISTS reasoning_tokens Nullable(UInt64) AFTER cache_write_tokens,
    ADD COLUMN IF NOT EXISTS finish_reason LowCardinality(Nullable(String)) AFTER reasoning_tokens,
    ADD COLUMN IF NOT EXISTS conversation_id Nullable(String) CODEC(ZSTD(1)) AFTER finish_reason,
    ADD COLUMN IF NOT EXISTS tool_name LowCardinality(Nullable(String)) AFTER conversation_id,
    ADD COLUMN IF NOT EXISTS prompt_name LowCardinality(Nullable(String)) AFTER tool_name,
    ADD COLUMN IF NOT EXISTS prompt_version LowCardinality(Nullable(String)) AFTER prompt_name,
    ADD COLUMN IF NOT EXISTS fingerprint LowCardinality(Nullable(String)) AFTER prompt_version,
    ADD COLUMN IF NOT EXISTS seed Nullable(Int64) AFTER fingerprint,
    ADD COLUMN IF NOT EXISTS sampling Map(LowCardinality(String), Float64) AFTER seed,
    ADD COLUMN IF NOT EXISTS documents Array(Tuple(id String, score Nullable(Float64))) CODEC(ZSTD(1)) AFTER sampling,
    MODIFY COLUMN shown String MATERIALIZED toJSONString(tuple(
        name, kind, status_code, status_message, service, environment, scope_name, composite_version, arm,
        operation, provider, model_requested, model_served, response_id, input_tokens, output_tokens, error_type,
        attributes_string, attributes_int, attributes_bool, attributes_json,
        arrayMap(e -> (toUnixTimestamp64Nano(e.time), e.name, e.attributes), events),
        arrayMap(l -> (lower(hex(l.trace_id)), lower(hex(l.span_id)), l.attributes), links),
        dropped_attributes + dropped_events + dropped_links, content_removed, flags,
        cache_read_tokens, cache_write_tokens, reasoning_tokens, finish_reason, conversation_id, tool_name,
        prompt_name, prompt_version, fingerprint, seed, sampling, documents)) CODEC(ZSTD(1))
