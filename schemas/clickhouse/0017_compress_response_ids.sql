-- Half of an id in hex digits is no information: 26 bytes a span become 13.
ALTER TABLE {database}.spans MODIFY COLUMN response_id CODEC(ZSTD(1))
