-- Keyed digests of a span's content by attribute, where the collector has a digest key: content itself
-- is never here. They compare with each other and with those of applications under the same key.
ALTER TABLE {database}.spans ADD COLUMN IF NOT EXISTS content_digests Map(LowCardinality(String), String) CODEC(ZSTD(1)) AFTER received_at
