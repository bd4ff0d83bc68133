-- One row per state of an API key; the highest revision is what holds. Never deleted: who could do
-- what, and since when, is evidence too. The secret itself is nowhere, only its SHA-256.
CREATE TABLE IF NOT EXISTS {database}.api_keys
(
    key_id               String,
    revision             UInt32,
    secret_digest        FixedString(32),
    scopes               Array(LowCardinality(String)),
    projects             Array(String),
    label                String,
    created_at           DateTime64(3, 'UTC'),
    created_by           String,
    expires_at           Nullable(DateTime64(3, 'UTC')),
    revoked_at           Nullable(DateTime64(3, 'UTC')),
    replaces             String
)
ENGINE = MergeTree
ORDER BY (key_id, revision)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
