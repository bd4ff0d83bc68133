-- What is known of some producers, or of all that are not settled: what they said last, and how far
-- their numbers were checked.
SELECT
    project, lower(hex(producer_id)) AS producer,
    argMaxIf(said_state, said_revision, said_revision > 0) AS state,
    maxIf(said_last, said_revision > 0) AS last,
    argMaxIf(said_started, said_revision, said_revision > 0) AS started_ms,
    argMaxIf(said_last_at, said_revision, said_revision > 0) AS last_ms,
    argMaxIf(said_ended, said_revision, said_revision > 0) AS ended_ms,
    argMaxIf(said_losses, said_revision, said_revision > 0) AS losses,
    argMax(checked, check_revision) AS checked_to, argMax(known, check_revision) AS known_to,
    argMax(checked_at, check_revision) AS checked_ms, argMax(known_at, check_revision) AS known_ms,
    argMax(settled, check_revision) AS is_settled,
    anyIf(service, service != '') AS service_name, anyIf(environment, environment != '') AS environment_name
FROM
(
    SELECT project, producer_id, service, environment,
        state AS said_state, revision AS said_revision, last AS said_last,
        ifNull(toUnixTimestamp64Milli(toDateTime64(started_at, 3, 'UTC')), 0) AS said_started, ifNull(toUnixTimestamp64Milli(toDateTime64(last_at, 3, 'UTC')), 0) AS said_last_at, ifNull(toUnixTimestamp64Milli(toDateTime64(ended_at, 3, 'UTC')), 0) AS said_ended,
        arrayMap(loss -> (toString(loss.reason), loss.count, loss.first, loss.last), losses) AS said_losses,
        toUInt64(0) AS checked, toUInt64(0) AS known, toInt64(0) AS checked_at, toInt64(0) AS known_at, false AS settled, toUInt64(0) AS check_revision
    FROM {database}.producers
    WHERE {all:UInt8} = 1 OR producer_id IN (SELECT toFixedString(unhex(arrayJoin({producers:Array(String)})), 16))
    UNION ALL
    SELECT project, producer_id, service, environment, '', 0, 0, 0, 0, 0, [],
        checked, known, ifNull(toUnixTimestamp64Milli(checked_to), 0), ifNull(toUnixTimestamp64Milli(known_to), 0), is_settled, revision
    FROM {database}.producer_checks
    WHERE {all:UInt8} = 1 OR producer_id IN (SELECT toFixedString(unhex(arrayJoin({producers:Array(String)})), 16))
)
GROUP BY project, producer_id
HAVING {all:UInt8} = 0 OR NOT is_settled
SETTINGS max_threads = 1
