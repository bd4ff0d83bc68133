-- The newest word of a producer stays; the word about its end beats any other.
INSERT INTO {database}.producers (project, producer_id, revision, state, last, started_at, last_at, ended_at, service, environment, losses, received_at)
SETTINGS {insert_settings}
WITH
    text -> if(match(text, '^[0-9]{1,19}$'), toUInt64OrNull(text), NULL) AS nanos,
    ns -> fromUnixTimestamp64Nano(toInt64(least(greatest(ns, toUInt64(1577836800000000000)), received_ms * 1000000 + 86400000000000)), 'UTC') AS sane_time,
    text -> if(nanos(text) IS NULL, NULL, sane_time(assumeNotNull(nanos(text)))) AS moment
SELECT
    project,
    toFixedString(producer_id, 16),
    bitOr(intDiv(time_ns, 1000000), bitShiftLeft(toUInt64(said.state != 'running'), 60)),
    said.state,
    said.last,
    moment(said.started_at),
    moment(said.last_at),
    moment(said.ended_at),
    said.service,
    said.environment,
    said.losses,
    fromUnixTimestamp64Milli(toInt64(received_ms), 'UTC')
FROM stage_producers
WHERE flaw = ''
