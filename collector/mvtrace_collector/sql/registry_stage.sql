-- A component, composite or piece of content enters only if its digest recomputes from its bytes.
INSERT INTO stage_registry
WITH
    key -> attributes.value.string_value[indexOf(attributes.key, key)] AS attribute
SELECT
    project, received_ms, seq, row, event_name,
    multiIf(event_name = 'mvtrace.component', attribute('mvtrace.component.digest'),
        event_name = 'mvtrace.content', attribute('mvtrace.content.digest'),
        attribute('mvtrace.composite.version')) AS claimed_digest,
    attribute('mvtrace.composite.name'),
    attribute('mvtrace.composite.labels'),
    if(length(attribute('mvtrace.composite.provenance')) <= 65536 AND isValidJSON(attribute('mvtrace.composite.provenance')),
        attribute('mvtrace.composite.provenance'), '') AS provenance,
    body,
    multiIf(
        body_kind != 's', 'not-text: the body is no text',
        claimed_digest != actual_digest, concat('digest-mismatch: the event says ', left(claimed_digest, 80), ', its bytes give ', actual_digest),
        event_name = 'mvtrace.component' AND JSONExtractString(body, 'kind') = '', 'not-a-component: the body has no kind',
        event_name = 'mvtrace.composite' AND JSONType(body, 'components') != 'Array', 'not-a-composite: the body has no components',
        '')
FROM
(
    SELECT
        *,
        concat(if(event_name = 'mvtrace.composite', '', 'sha256:'), lower(hex(SHA256(concat(event_name, '/1\n', body))))) AS actual_digest
    FROM stage_logs
    WHERE event_name IN ('mvtrace.component', 'mvtrace.composite', 'mvtrace.content')
)
SETTINGS max_threads = 1
