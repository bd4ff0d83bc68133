-- What holds of a request, a name and a scorer: the score given last. A view: `scores` has every revision.
-- LIMIT BY in the order of the key: of 1,000,000 scores it took a tenth of what argMax by group took.
CREATE VIEW IF NOT EXISTS {database}.score_latest
SQL SECURITY INVOKER
AS SELECT
    project,
    request_id,
    concat(
        lower(hex(substring(request_id, 1, 4))), '-', lower(hex(substring(request_id, 5, 2))), '-',
        lower(hex(substring(request_id, 7, 2))), '-', lower(hex(substring(request_id, 9, 2))), '-',
        lower(hex(substring(request_id, 11, 6)))) AS request_id_text,
    name,
    scorer,
    toUInt8(NOT startsWith(scorer, 'undeclared:')) AS is_declared,
    value,
    label,
    source,
    scored_at,
    toUnixTimestamp64Milli(scored_at) - toInt64(reinterpretAsUInt64(reverse(substring(request_id, 1, 6)))) AS delay_ms,
    revisions
FROM
(
    SELECT
        project,
        request_id,
        name,
        scorer,
        event_id,
        value,
        label,
        source,
        scored_at,
        count() OVER (PARTITION BY project, request_id, name, scorer) AS revisions
    FROM {database}.scores FINAL
)
ORDER BY
    project DESC,
    request_id DESC,
    name DESC,
    scorer DESC,
    scored_at DESC,
    event_id DESC
LIMIT 1 BY
    project,
    request_id,
    name,
    scorer
