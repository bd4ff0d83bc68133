-- `explain` asks what evals gave one answer: of 8192 results a granule, nearly all are passed over.
ALTER TABLE {database}.eval_results ADD INDEX IF NOT EXISTS by_request request_id TYPE bloom_filter(0.001) GRANULARITY 1
