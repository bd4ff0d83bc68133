-- A component, composite, entry or piece of content enters only if its digest recomputes from its bytes.
INSERT INTO stage_registry
WITH
    key -> attributes.value.string_value[indexOf(attributes.key, key)] AS attribute,
    digits -> match(digits, '^[0-9a-f]{64}$') AS is_digits,
    said -> JSONExtract(said, 'Tuple(suite String, scorer String, composite String, run String, recorded_at String, piece UInt32, pieces UInt32, results Array(Tuple(example String, repeat UInt32, cluster String, value Nullable(Float64), label String, request_id String)))') AS results_of,
    (said, length_said) -> multiIf(
        NOT is_digits(said.suite), 'its suite is no digest',
        NOT is_digits(said.composite), 'its composite is no version',
        NOT is_digits(said.run), 'its run is no digest',
        NOT is_digits(said.scorer) AND NOT match(said.scorer, '^undeclared:[^/]{1,100}/.{1,200}$'), 'its scorer is no digest',
        NOT match(said.recorded_at, '^[0-8]?[0-9]{1,18}$'), 'recorded_at is no time',
        said.piece = 0 OR said.piece > said.pieces, 'its piece is none',
        empty(said.results) OR length(said.results) != length_said, 'its results are no list of results',
        length(arrayDistinct(arrayMap(one -> (one.example, one.repeat), said.results))) != length_said, 'an example comes twice',
        arrayExists(one -> empty(one.example) OR lengthUTF8(one.example) > 200 OR lengthUTF8(one.cluster) > 200, said.results), 'an example or a cluster is not 1 to 200 characters',
        arrayExists(one -> one.value IS NULL AND one.label = '', said.results), 'a value and a label are missing',
        arrayExists(one -> NOT isFinite(ifNull(one.value, 0)) OR lengthUTF8(one.label) > 256, said.results), 'a value is not finite, or a label too long',
        arrayExists(one -> one.request_id != '' AND NOT match(one.request_id, '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'), said.results), 'a request_id is none',
        '') AS results_flaw
SELECT
    project, received_ms, seq, row, event_name,
    multiIf(event_name = 'mvtrace.component', attribute('mvtrace.component.digest'),
        event_name = 'mvtrace.content', attribute('mvtrace.content.digest'),
        event_name = 'mvtrace.entry', attribute('mvtrace.entry.digest'),
        attribute('mvtrace.composite.version')) AS claimed_digest,
    if(event_name = 'mvtrace.entry', JSONExtractString(body, 'kind'), attribute('mvtrace.composite.name')),
    attribute('mvtrace.composite.labels'),
    if(length(attribute('mvtrace.composite.provenance')) <= 65536 AND isValidJSON(attribute('mvtrace.composite.provenance')),
        attribute('mvtrace.composite.provenance'), '') AS provenance,
    body,
    multiIf(
        body_kind != 's', 'not-text: the body is no text',
        claimed_digest != actual_digest, concat('digest-mismatch: the event says ', left(claimed_digest, 80), ', its bytes give ', actual_digest),
        event_name = 'mvtrace.component' AND JSONExtractString(body, 'kind') = '', 'not-a-component: the body has no kind',
        event_name = 'mvtrace.composite' AND JSONType(body, 'components') != 'Array', 'not-a-composite: the body has no components',
        event_name = 'mvtrace.entry' AND (NOT match(JSONExtractString(body, 'kind'), '^[a-z_]{1,32}$') OR JSONType(body, 'schema_version') NOT IN ('Int64', 'UInt64')),
            'not-an-entry: the body has no kind or no schema_version',
        event_name = 'mvtrace.entry' AND JSONExtractString(body, 'kind') = 'results' AND results_flaw(results_of(body), JSONLength(body, 'results')) != '',
            concat('not-results: ', results_flaw(results_of(body), JSONLength(body, 'results'))),
        ''),
    actor, actor_label
FROM
(
    SELECT
        *,
        concat(if(event_name = 'mvtrace.composite', '', 'sha256:'), lower(hex(SHA256(concat(event_name, '/1\n', body))))) AS actual_digest
    FROM stage_logs
    WHERE event_name IN ('mvtrace.component', 'mvtrace.composite', 'mvtrace.content', 'mvtrace.entry')
)
SETTINGS max_threads = 1
