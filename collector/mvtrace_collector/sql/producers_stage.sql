-- A producer's word counts if it is JSON that names the producer, a state and the last number.
INSERT INTO stage_producers
SELECT
    project, received_ms,
    if(match(said.producer_id, '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'), unhex(replaceAll(said.producer_id, '-', '')), '') AS id,
    time_ns,
    multiIf(
        body_kind != 's' OR NOT isValidJSON(body) OR JSONType(body) != 'Object', 'the body is no JSON object',
        id = '', concat('producer_id is ', toJSONString(left(said.producer_id, 80)), ', not a UUID'),
        said.state NOT IN ('running', 'closed', 'orphaned'), 'state is neither running, closed nor orphaned',
        NOT JSONHas(body, 'last') OR said.last > 9007199254740991, 'last is no number',
        '') AS flaw,
    body,
    JSONExtract(if(body_kind = 's', body, ''), 'Tuple(producer_id String, state String, last UInt64, started_at String, last_at String, ended_at String, service String, environment String, losses Array(Tuple(reason String, count UInt64, first UInt64, last UInt64)))') AS said
FROM stage_logs
WHERE event_name = 'mvtrace.producer'
SETTINGS max_threads = 1
