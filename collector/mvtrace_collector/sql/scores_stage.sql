-- Scores of both forms: mvtrace.feedback says all in its body, gen_ai.evaluation.result in attributes,
-- and is of the request that it names, else of the one where its trace's are (stage_homes). What comes
-- under a key that may not send records is a vote: of a user, by an undeclared scorer, and whoever votes
-- on a request first has it.
INSERT INTO stage_scores
WITH
    text -> match(text, '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS is_uuid7,
    text -> match(text, '^sha256:[0-9a-f]{64}$') AS is_digest
SELECT
    project, received_ms, request_id, if(flaw = '', toYYYYMM(fromUnixTimestamp64Milli(toInt64(id_ms), 'UTC')), 0),
    name, scorer, event_id, source, voter, value, label, scored_ns, actor,
    multiIf(
        flaw != '', concat('not-a-score: ', flaw),
        is_vote AND if(stored.first_voter = '', first_value(voter) OVER (PARTITION BY project, request_id, name ORDER BY is_vote AND flaw = '' DESC, received_ms, seq, row), stored.first_voter) != voter,
            'vote-taken: somebody else has voted on this request',
        '') AS problem,
    body
FROM
(
    SELECT
        project, received_ms, seq, row, said_name AS name, actor, body, value, label,
        NOT has(splitByChar(' ', grants), 'ingest') AS is_vote,
        reinterpretAsUInt64(reverse(substring(request_id, 1, 6))) AS id_ms,
        request_id,
        if(is_vote, 'user', said_source) AS source,
        if(is_vote OR said_scorer = '', concat('undeclared:', source, '/', name), said_scorer) AS scorer,
        if(is_vote, if(said_voter = '', actor, lower(hex(SHA256(concat('mvtrace.voter/1\n', project, '\n', said_voter))))), '') AS voter,
        least(greatest(said_ns, toUInt64(1577836800000000000)), received_ms * 1000000 + 999999) AS scored_ns,
        if(given_id != '', toFixedString(given_id, 16), toFixedString(substring(SHA256(concat('mvtrace.feedback/1\n', project, '\n', actor, '\n', body)), 1, 16), 16)) AS event_id,
        multiIf(
            NOT hasAny(splitByChar(' ', grants), ['ingest', 'score']), 'its key has neither the scope ingest nor score',
            given_flaw != '', given_flaw,
            length(request_id) != 16, 'request_id is no UUIDv7',
            id_ms < 1577836800000 OR id_ms > received_ms + 86400000, 'the time in request_id cannot be',
            empty(name) OR lengthUTF8(name) > 128, 'name is not 1 to 128 characters',
            empty(source) OR lengthUTF8(source) > 64, 'source is not 1 to 64 characters',
            value IS NULL AND label IS NULL, 'value and label are missing',
            NOT isFinite(ifNull(value, 0)), 'value is not finite',
            is_vote AND ifNull(value, 0) NOT BETWEEN -1 AND 10, 'the value of a vote is not -1 to 10',
            ifNull(lengthUTF8(label), 1) NOT BETWEEN 1 AND 256, 'label is not 1 to 256 characters',
            said_scorer != '' AND NOT is_digest(said_scorer), 'scorer is no digest',
            '') AS flaw
    FROM
    (
        SELECT
            project, received_ms, seq, row, actor, grants, body, '' AS given_id,
            JSONExtract(if(body_kind = 's', body, ''), 'Tuple(schema_version Int64, request_id String, name String, value Nullable(Float64), label Nullable(String), source String, scorer String, voter String, at String)') AS said,
            if(is_uuid7(said.request_id), unhex(replaceAll(said.request_id, '-', '')), '') AS request_id,
            said.name AS said_name, said.value AS value, said.label AS label,
            if(said.source = '', 'user', said.source) AS said_source, said.scorer AS said_scorer, said.voter AS said_voter,
            multiIf(match(said.at, '^[0-9]{1,19}$'), toUInt64(said.at), time_ns != 0, time_ns, received_ms * 1000000) AS said_ns,
            multiIf(body_kind != 's' OR NOT isValidJSON(body) OR JSONType(body) != 'Object', 'the body is no JSON object', said.schema_version < 1, 'schema_version is missing', '') AS given_flaw
        FROM stage_logs
        WHERE event_name = 'mvtrace.feedback'
        UNION ALL
        SELECT
            project, received_ms, seq, row, actor, grants, '' AS body, unhex(hex(event_id)) AS given_id,
            (0, '', '', NULL, NULL, '', '', '', '') AS said,
            unhex(hex(if(replaceAll(claimed, '-', '') = lower(hex(stage_ids.request_id)) OR home = toFixedString('', 16), stage_ids.request_id, home))) AS request_id,
            texts['gen_ai.evaluation.name'] AS said_name,
            multiIf(has(attributes.key, 'gen_ai.evaluation.score.value') AND score.value = 'd', score.double_value, has(attributes.key, 'gen_ai.evaluation.score.value') AND score.value = 'i', toFloat64(score.int_value), NULL) AS value,
            if(texts['gen_ai.evaluation.score.label'] = '', NULL, texts['gen_ai.evaluation.score.label']) AS label,
            if(texts['mvtrace.score.source'] = '', 'evaluation', texts['mvtrace.score.source']) AS said_source,
            texts['mvtrace.scorer.digest'] AS said_scorer, '' AS said_voter,
            if(time_ns != 0, time_ns, received_ms * 1000000) AS said_ns, '' AS given_flaw
        FROM
        (
            SELECT *, mapFromArrays(arrayDistinct(attributes.key), arrayMap(k -> attributes.value.string_value[indexOf(attributes.key, k)], arrayDistinct(attributes.key))) AS texts,
                attributes.value[indexOf(attributes.key, 'gen_ai.evaluation.score.value')] AS score
            FROM stage_logs
            WHERE event_name = 'gen_ai.evaluation.result'
        ) AS evaluated
        INNER JOIN stage_ids USING (project, trace_id, claimed)
        LEFT JOIN (SELECT project, unhex(hex(trace_id)) AS trace_id, home FROM stage_homes) AS homes USING (project, trace_id)
    )
) AS sent
LEFT JOIN
(
    SELECT project, unhex(hex(request_id)) AS request_id, name, argMin(voter, (received_at, event_id)) AS first_voter
    FROM {database}.scores
    WHERE voter != '' AND (project, request_id) IN
        (SELECT project, toFixedString(substring(unhex(replaceAll(JSONExtractString(body, 'request_id'), '-', '')), 1, 16), 16) FROM stage_logs
         WHERE event_name = 'mvtrace.feedback' AND match(JSONExtractString(body, 'request_id'), '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'))
    GROUP BY project, request_id, name
) AS stored USING (project, request_id, name)
SETTINGS max_threads = 1
