-- What the models that served cost, as one price list says: a row a price. Looked up once a model, by the
-- names that calls gave it; a model that the list does not have has one row with no unit. `list` is the
-- digest of the list's component. Of the rows of a model the highest rank holds whose day and time of day
-- (UTC, seconds since midnight; until before from: over midnight) include the call's, else rank 0; of a
-- unit the one of the highest `above` that the call's input tokens exceed, for all its tokens.
CREATE TABLE IF NOT EXISTS {database}.model_prices
(
    project              LowCardinality(String),
    list                 LowCardinality(String),
    provider             LowCardinality(String),
    model                String,
    rank                 UInt16,
    valid_from           Date,
    second_from          UInt32,
    second_until         UInt32,
    unit                 LowCardinality(String),
    above                Int64,
    usd                  Decimal(38, 18),
    per                  UInt32,
    priced_as            String,
    received_at          DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (project, list, provider, model, rank, valid_from, second_from, second_until, unit, above)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1, fsync_part_directory = 1
