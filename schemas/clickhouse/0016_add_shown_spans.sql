-- What `explain` shows of a span beside its ids, times and doubles, as one JSON array: 35 columns cost a
-- point read 18 ms, seven 5 (each is planned, and has one to eight streams). Made by the engine from the
-- columns as they are inserted; in older parts when it is read.
ALTER TABLE {database}.spans ADD COLUMN IF NOT EXISTS shown String MATERIALIZED toJSONString(tuple(
    name, kind, status_code, status_message, service, environment, scope_name, composite_version, arm,
    operation, provider, model_requested, model_served, response_id, input_tokens, output_tokens, error_type,
    attributes_string, attributes_int, attributes_bool, attributes_json,
    arrayMap(e -> (toUnixTimestamp64Nano(e.time), e.name, e.attributes), events),
    arrayMap(l -> (lower(hex(l.trace_id)), lower(hex(l.span_id)), l.attributes), links),
    dropped_attributes + dropped_events + dropped_links, content_removed, flags)) CODEC(ZSTD(1))
