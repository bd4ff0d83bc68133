-- The same for the ids by which requests are found: 53 bytes a row become 41.
ALTER TABLE {database}.request_aliases MODIFY COLUMN alias CODEC(ZSTD(1)), MODIFY COLUMN received_at CODEC(ZSTD(1))
